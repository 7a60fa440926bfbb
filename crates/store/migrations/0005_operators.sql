-- A disabled operator's row stays: the trail names them.
ALTER TABLE operators ADD COLUMN state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled'));

-- What operators' scripts present in place of a password. verifier: as a key's; never the token.
CREATE TABLE operator_tokens (
    id           TEXT PRIMARY KEY,
    operator     TEXT NOT NULL REFERENCES operators (email),
    verifier     TEXT NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

-- Wrong passwords in a row, by the address that was typed: one that nobody has waits like one that somebody has.
CREATE TABLE wrong_passwords (
    email TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
