-- Trackers that refused our key: what each of them is known to say of it when it does not listen to another proof (a ban).
CREATE TABLE refused_key (
    tracker TEXT PRIMARY KEY,                    -- HOST:PORT, as in the settings
    key_check TEXT NOT NULL,                     -- check value of the key: nothing to use or to guess it with
    refused_at REAL NOT NULL                     -- Unix seconds
) STRICT, WITHOUT ROWID;
