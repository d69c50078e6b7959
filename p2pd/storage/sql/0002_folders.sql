-- Folders: a folder is a list of its files (a collection), whose octets are kept beside the manifests.
CREATE TABLE folder (
    folder_id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    excludes TEXT NOT NULL DEFAULT '',           -- one pattern a line
    hidden INTEGER NOT NULL DEFAULT 0,           -- whether names with a dot in front are shared
    content_id BLOB REFERENCES manifest (content_id), -- of the collection, as it was last complete
    sha256 BLOB,
    files INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('hashing', 'shared', 'missing')),
    error TEXT,
    origin TEXT NOT NULL CHECK (origin IN ('add', 'download')),
    added_at REAL NOT NULL,
    CHECK (state <> 'shared' OR content_id IS NOT NULL)
) STRICT;
CREATE INDEX folder_content ON folder (content_id);

-- The files of a folder, by their path in it. live = 0: it changed or is gone, and is not served; its hash and stamp are remembered.
CREATE TABLE member (
    folder_id INTEGER NOT NULL REFERENCES folder (folder_id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    content_id BLOB NOT NULL REFERENCES manifest (content_id),
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    device INTEGER NOT NULL,
    live INTEGER NOT NULL CHECK (live IN (0, 1)),
    PRIMARY KEY (folder_id, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_content ON member (content_id);

ALTER TABLE published ADD COLUMN files INTEGER NOT NULL DEFAULT 0; -- of a folder; 0: a file
ALTER TABLE download ADD COLUMN files INTEGER NOT NULL DEFAULT 0;  -- the same
ALTER TABLE download ADD COLUMN parent INTEGER;                    -- number of the folder's download that this is a part of
CREATE INDEX download_parent ON download (parent) WHERE parent IS NOT NULL;
