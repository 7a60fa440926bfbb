-- How far each sink of notifications has been told the trail: everything up to seq was delivered, given up, or not for
-- it. sink: the SHA-256 of its URL, because a URL may have a secret in it.
CREATE TABLE notify_cursors (
    sink TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
