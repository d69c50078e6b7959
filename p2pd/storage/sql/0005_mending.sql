-- Files whose damaged pieces were fetched and are being written: finished at the next start when that is cut short.
CREATE TABLE mending (
    path BLOB PRIMARY KEY,
    content_id BLOB NOT NULL,
    bad BLOB NOT NULL,                           -- bitfield of the pieces to write
    side_name TEXT NOT NULL,                     -- the file that holds them
    stamp_size INTEGER NOT NULL,
    stamp_mtime_ns INTEGER NOT NULL,
    stamp_inode INTEGER NOT NULL,
    stamp_device INTEGER NOT NULL,
    manifest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
