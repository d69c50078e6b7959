-- Programs of the user's that are to run because something ended: written with that end, removed when they ran.
CREATE TABLE hook (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,                          -- of the setting: download_done, ...
    transfer INTEGER NOT NULL,
    started_at REAL                              -- null until it runs
) STRICT;
