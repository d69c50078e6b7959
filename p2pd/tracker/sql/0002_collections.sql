-- A content may be a folder's list: `files` says how many files it names, 0 for a plain file. Part of the claim, as size and SHA-256 are.
ALTER TABLE content ADD COLUMN files INTEGER NOT NULL DEFAULT 0;
DROP INDEX content_claim;
CREATE UNIQUE INDEX content_claim ON content (content_id, sha256, size, files);
