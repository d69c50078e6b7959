-- The tracker's registry, version 1.
--
--   device --< entry >-- label --- name      (a name is stored once, however many share it)
--                          |
--                       content              (so is a content)
--
-- An entry says: this device serves this content under this name. It is shown while its device has a lease and a
-- port, and its generation is not below its device's. A label is a pair of name and content that some entry has:
-- what a search finds, without a row for each device.

CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    device_id BLOB NOT NULL UNIQUE,              -- 20 octets, proved in the handshake
    observed TEXT NOT NULL,                      -- source address of the last announce
    declared TEXT NOT NULL,                      -- address it claims, or ''
    port INTEGER NOT NULL,                       -- 0: not listening
    here INTEGER NOT NULL,                       -- 0: it left, or its lease ended; 1: gets a lease after a restart
    lease REAL NOT NULL,                         -- its end, by the clock of this run
    epoch BLOB NOT NULL,                         -- what is known of its share: all of it up to (epoch, revision);
    revision INTEGER NOT NULL,                   --   zeros when nothing complete is known
    stage_epoch BLOB NOT NULL,                   -- a complete listing under way has come so far;
    stage_revision INTEGER NOT NULL,             --   zeros when there is none
    generation INTEGER NOT NULL,                 -- entries below it are replaced: hidden, and swept later
    stage_generation INTEGER NOT NULL,           -- of the entries of a listing, also of the last one
    swept INTEGER NOT NULL,                      -- no entry is below this generation
    files INTEGER NOT NULL,                      -- entries of the share known (or of the one before a listing)
    stage_files INTEGER NOT NULL,                -- entries of the listing under way
    entries INTEGER NOT NULL                     -- rows in entry, also replaced ones
);
CREATE INDEX device_lease ON device (lease);
CREATE INDEX device_unswept ON device (id) WHERE swept < generation;

CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    content_id BLOB NOT NULL,                    -- 32 octets
    sha256 BLOB NOT NULL,                        -- 32 octets
    size INTEGER NOT NULL                        -- octets
);
-- Not unique by content_id alone: who lies about size or SHA-256 makes a row of its own and cannot mask the truth.
CREATE UNIQUE INDEX content_claim ON content (content_id, sha256, size);
CREATE INDEX content_sha256 ON content (sha256);

CREATE TABLE name (
    id INTEGER PRIMARY KEY AUTOINCREMENT,        -- never used twice: cursors hold it
    name TEXT NOT NULL,                          -- as shared, a path with '/'
    folded TEXT NOT NULL                         -- without case and accents, see search.fold
);
CREATE UNIQUE INDEX name_order ON name (folded, name);

-- Which names hold which three characters. No positions and no copy of the text: matches are checked against
-- name.folded, and the index is half as large.
CREATE VIRTUAL TABLE name_trigram USING fts5(
    folded, content='', columnsize=0, detail='none', tokenize='trigram case_sensitive 1'
);

CREATE TABLE label (
    name INTEGER NOT NULL,
    content INTEGER NOT NULL,
    PRIMARY KEY (name, content)
) WITHOUT ROWID;

CREATE TABLE entry (
    content INTEGER NOT NULL,
    name INTEGER NOT NULL,
    device INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    added_at INTEGER NOT NULL,                   -- Unix seconds, as the device says
    PRIMARY KEY (content, name, device)
) WITHOUT ROWID;
CREATE INDEX entry_device ON entry (device);
