-- What is known of the tools of MCP services: the definition that the last list showed, and the one that may be called.
DROP TABLE tool_hints;

-- place: SHA-256 of the upstream's address or command; another upstream's tools are others.
-- revision: moves with every change of the service's tools. listed: whether a whole list was seen.
CREATE TABLE tool_lists (
    service  TEXT PRIMARY KEY,
    place    BLOB NOT NULL CHECK (length(place) = 32),
    revision INTEGER NOT NULL,
    listed   INTEGER NOT NULL CHECK (listed IN (0, 1))
) STRICT;

-- definition: canonical JSON; NULL where it is too large to be kept. seen_at: since when it is so.
-- accepted_by: the operator who accepted it; NULL where it was there at first use.
CREATE TABLE tools (
    service             TEXT NOT NULL,
    name                TEXT NOT NULL,
    hash                BLOB NOT NULL CHECK (length(hash) = 32),
    hint                TEXT NOT NULL CHECK (hint IN ('read-only', 'plain', 'destructive')),
    definition          TEXT,
    seen_at             INTEGER NOT NULL,
    accepted_hash       BLOB CHECK (length(accepted_hash) = 32),
    accepted_definition TEXT,
    accepted_at         INTEGER,
    accepted_by         TEXT,
    PRIMARY KEY (service, name)
) STRICT;
