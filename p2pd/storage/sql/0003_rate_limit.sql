-- Limits of bandwidth in octets a second; 0 is none.
CREATE TABLE rate_limit (                        -- as set at run time; what is not here is as configured
    direction TEXT PRIMARY KEY CHECK (direction IN ('up', 'down')),
    bytes_per_s INTEGER NOT NULL CHECK (bytes_per_s >= 0)
) STRICT, WITHOUT ROWID;
ALTER TABLE download ADD COLUMN limit_bytes_per_s INTEGER NOT NULL DEFAULT 0;
