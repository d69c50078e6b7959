-- Who is kept out, and why: by a person ("hand"), or for wrong data ("wrong_data": not used as a source).
CREATE TABLE ban (
    subject TEXT NOT NULL,                       -- a device id in base32, or a network in CIDR
    cause TEXT NOT NULL,
    until REAL NOT NULL,                         -- Unix seconds; infinity: for ever
    reason TEXT NOT NULL,
    since REAL NOT NULL,
    bad INTEGER NOT NULL,                        -- wrong pieces so far
    PRIMARY KEY (subject, cause)
) STRICT, WITHOUT ROWID;

-- What is to be downloaded as soon as somebody has it.
CREATE TABLE want (
    want INTEGER PRIMARY KEY AUTOINCREMENT,
    spec TEXT NOT NULL UNIQUE,                   -- JSON: what, and where to; one row for each
    state TEXT NOT NULL,                         -- wanted, started or failed
    transfer TEXT,                               -- the download that it became
    error_code TEXT,
    error TEXT,
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL
) STRICT;
CREATE INDEX want_state ON want (state);
