-- What it takes to rank a million names: words beside trigrams, how many have a content, short indexes.
--
-- Everything but the bans is forgotten: devices announce again, and publish what a tracker does not know. Tables are described
-- in 0001; what is new or different is said here.

DROP TABLE entry;
DROP TABLE label;
DROP TABLE name_trigram;
DROP TABLE name;
DROP TABLE content;
DELETE FROM device;

CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    content_id BLOB NOT NULL,                    -- 32 octets
    sha256 BLOB NOT NULL,                        -- 32 octets
    size INTEGER NOT NULL,                       -- octets
    files INTEGER NOT NULL,                      -- of a folder; 0 for a file
    id_head INTEGER NOT NULL,                    -- the first 7 octets of content_id as a number, and
    sha_head INTEGER NOT NULL,                   -- of sha256: an index of numbers is a quarter of one of digests
    holders INTEGER NOT NULL,                    -- rows in entry, also hidden ones
    newest INTEGER NOT NULL                      -- added_at of them, the highest there ever was
);
CREATE INDEX content_id_head ON content (id_head);
CREATE INDEX content_sha_head ON content (sha_head);

CREATE TABLE name (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    tier INTEGER NOT NULL                        -- how popular the most popular content of this name ever was, 0 to 2
);
CREATE INDEX name_folded ON name (folded);           -- names that fold to the same are few

CREATE VIRTUAL TABLE name_trigram USING fts5(
    folded, content='', columnsize=0, detail='none', tokenize='trigram case_sensitive 1'
);

-- Which names have which words, whole (runs of letters and digits, separated by one space). Names of a tier have each word once more,
-- behind a mark of the tier, and of those below: what is popular has short lists of its own.
CREATE VIRTUAL TABLE name_word USING fts5(
    words, content='', columnsize=0, detail='none', tokenize='ascii', prefix='2 3 4'
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
    added_at INTEGER NOT NULL,
    PRIMARY KEY (content, name, device)
) WITHOUT ROWID;
CREATE INDEX entry_device ON entry (device);

-- Larger leaves for long lists; and what is gathered for one commit is written as one segment.
INSERT INTO name_trigram (name_trigram, rank) VALUES ('pgsz', 4000);
INSERT INTO name_trigram (name_trigram, rank) VALUES ('hashsize', 33554432);
INSERT INTO name_word (name_word, rank) VALUES ('pgsz', 4000);
INSERT INTO name_word (name_word, rank) VALUES ('hashsize', 33554432);
