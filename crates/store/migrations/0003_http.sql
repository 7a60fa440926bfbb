-- A credential's value is sealed under its service, origin, name and version; the store never sees it.
-- origin is the one that it was sealed for: scheme, host and port.
-- A version is never given twice: the row of a removed credential stays without a value.
CREATE TABLE credentials (
    service TEXT NOT NULL,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    origin  TEXT NOT NULL,
    sealed  BLOB,
    set_at  INTEGER NOT NULL,
    PRIMARY KEY (service, name)
) STRICT, WITHOUT ROWID;

-- What agents may read about a service.
CREATE TABLE documentation (
    service TEXT PRIMARY KEY,
    body    TEXT NOT NULL
) STRICT;

-- One row for each call that was made under an idempotency key, for as long as the key is remembered.
-- answer: sealed, once there is one.
CREATE TABLE idempotency (
    agent       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    call_id     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('in_progress', 'done', 'unknown')),
    answer      BLOB,
    claimed_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (agent, key)
) STRICT;

CREATE INDEX idempotency_expiry ON idempotency (expires_at);
