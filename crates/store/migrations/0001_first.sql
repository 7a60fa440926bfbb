-- Times are microseconds since 1970 UTC. Ids and names are texts as people see them.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sealed (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One counter an area; it moves in the transaction of every change there.
CREATE TABLE revisions (
    area   TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A deleted agent's row stays, so that its name is not given again.
CREATE TABLE agents (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'deleted')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- verifier: `scheme$v=…$…`, what a presented key must hash to; never the key.
CREATE TABLE keys (
    id           TEXT PRIMARY KEY,
    agent        TEXT NOT NULL REFERENCES agents (name),
    verifier     TEXT NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE services (
    name       TEXT PRIMARY KEY,
    definition TEXT NOT NULL,
    revision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE operators (
    email         TEXT PRIMARY KEY,
    role          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One chain a file, written by the writer that meta names: so seq alone is the key, and the table needs no
-- second tree for it.
-- rec is the event, to the byte; hash is the SHA-256 of those bytes. The columns between are copies out of
-- rec for filtering; `audit verify` derives them again and compares.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    call_id TEXT,
    agent   TEXT,
    service TEXT,
    action  TEXT,
    result  TEXT,
    rec     TEXT NOT NULL,
    hash    BLOB NOT NULL
) STRICT;

-- Call ids begin with the time, so this index grows at its end too.
CREATE INDEX audit_call ON audit (call_id) WHERE call_id IS NOT NULL;
