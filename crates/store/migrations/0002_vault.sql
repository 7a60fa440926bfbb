-- wrapped: the term's key, sealed under the root key. Terms never vanish: old values name them.
CREATE TABLE keyring (
    term       INTEGER PRIMARY KEY,
    state      TEXT NOT NULL CHECK (state IN ('active', 'decrypt_only')),
    wrapped    BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
