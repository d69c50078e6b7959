-- Who is kept out, by hand. Trackers that share a registry share its bans.
CREATE TABLE ban (
    subject TEXT NOT NULL PRIMARY KEY,           -- a device id in base32, or a network in CIDR
    until REAL NOT NULL,                         -- Unix seconds; infinity: for ever
    reason TEXT NOT NULL,                        -- what the banned is told
    since REAL NOT NULL
) WITHOUT ROWID;
