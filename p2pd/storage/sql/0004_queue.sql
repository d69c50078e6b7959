-- Downloads that failed for now and are tried again: how often that happened in a row, and when the next try is due.
ALTER TABLE download ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE download ADD COLUMN retry_at REAL;
