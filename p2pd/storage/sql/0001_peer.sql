-- The peer's durable state. Paths and names of this machine are BLOBs: they need not be UTF-8. Times are seconds since 1970.

CREATE TABLE peer (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    share_epoch BLOB NOT NULL CHECK (length(share_epoch) = 8),
    revision INTEGER NOT NULL DEFAULT 0,        -- of what is published; only grows
    pruned_revision INTEGER NOT NULL DEFAULT 0, -- withdrawals up to here are forgotten
    clean INTEGER NOT NULL DEFAULT 1            -- stopped in order
) STRICT;
INSERT INTO peer (id, share_epoch) VALUES (1, randomblob(8));

CREATE TABLE manifest (
    content_id BLOB PRIMARY KEY,
    octets BLOB NOT NULL
) STRICT;

CREATE TABLE share (
    share_id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    content_id BLOB REFERENCES manifest (content_id),
    sha256 BLOB,
    size INTEGER NOT NULL DEFAULT 0,
    stamp_size INTEGER,
    stamp_mtime_ns INTEGER,
    stamp_inode INTEGER,
    stamp_device INTEGER,
    state TEXT NOT NULL CHECK (state IN ('hashing', 'shared', 'changed', 'missing', 'error')),
    error TEXT,
    origin TEXT NOT NULL CHECK (origin IN ('add', 'download')),
    added_at REAL NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    CHECK (state <> 'shared' OR content_id IS NOT NULL)
) STRICT;
CREATE INDEX share_content ON share (content_id, name);

-- What trackers are told: one row for each (content, name), however many paths have it; live = 0 says that it was withdrawn.
CREATE TABLE published (
    content_id BLOB NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL UNIQUE,
    live INTEGER NOT NULL CHECK (live IN (0, 1)),
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    added_at REAL NOT NULL,
    PRIMARY KEY (content_id, name)
) STRICT;
CREATE INDEX published_withdrawn ON published (revision) WHERE live = 0;

CREATE TABLE download (
    number INTEGER PRIMARY KEY AUTOINCREMENT,   -- transfer id "t-<number>"
    content_id BLOB NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    directory BLOB NOT NULL,
    target_name BLOB NOT NULL,
    part_name TEXT NOT NULL DEFAULT '',
    exists_policy TEXT NOT NULL CHECK (exists_policy IN ('fail', 'skip', 'rename', 'overwrite')),
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'verifying', 'done', 'failed', 'cancelled',
                                         'disk_full', 'missing_storage')),
    error_code TEXT,
    error TEXT,
    created_at REAL NOT NULL,
    finished_at REAL,
    path BLOB,
    resumed_bytes INTEGER NOT NULL DEFAULT 0,
    received_bytes INTEGER NOT NULL DEFAULT 0,
    check_sha256 TEXT NOT NULL,                  -- hex digits that the SHA-256 must begin with; empty: not asked for
    share INTEGER NOT NULL,
    from_user INTEGER NOT NULL,
    part_inode INTEGER,
    part_device INTEGER,
    part_mtime_ns INTEGER NOT NULL DEFAULT 0,    -- at the last orderly stop; 0 while it is written to
    committed BLOB NOT NULL DEFAULT x'',
    givers TEXT NOT NULL DEFAULT ''              -- HOST:PORT of each device that gave octets, one a line
) STRICT;
CREATE INDEX download_state ON download (state);
CREATE INDEX download_content ON download (content_id);

CREATE TABLE source (
    content_id BLOB NOT NULL,
    device_id BLOB NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (content_id, device_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_seen ON source (seen_at);
