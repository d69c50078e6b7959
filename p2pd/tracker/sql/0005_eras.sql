-- Indexes that do not make a file dearer, however many there are: names and contents are indexed by era.
--
-- An era is a stretch of time in which so many names or contents were new (eras_sqlite.py). New rows go into the part of an index that
-- belongs to the newest era, which is small, so that a batch touches few pages; who looks for a row looks into each era. What was there
-- before is the first one.

CREATE TABLE era (
    id INTEGER PRIMARY KEY,
    names INTEGER NOT NULL,                      -- the first row of name that may be in it, and
    contents INTEGER NOT NULL,                   -- of content
    target INTEGER                               -- the era that its rows are being moved to
);
INSERT INTO era VALUES (1, 0, 0, NULL);

ALTER TABLE content ADD COLUMN era INTEGER NOT NULL DEFAULT 1;
DROP INDEX content_id_head;
DROP INDEX content_sha_head;
CREATE INDEX content_id_head ON content (era, id_head);
CREATE INDEX content_sha_head ON content (era, sha_head);

ALTER TABLE name ADD COLUMN era INTEGER NOT NULL DEFAULT 1;
DROP INDEX name_folded;
CREATE INDEX name_folded ON name (era, folded);
