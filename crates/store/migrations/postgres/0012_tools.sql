-- What is known of the tools of MCP services: the definition that the last list showed, and the one that may be called.
DROP TABLE tool_hints;

-- place: SHA-256 of the upstream's address or command; another upstream's tools are others.
-- revision: moves with every change of the service's tools. listed: whether a whole list was seen.
CREATE TABLE tool_lists (
    service  TEXT COLLATE "C" PRIMARY KEY,
    place    BYTEA NOT NULL CHECK (length(place) = 32),
    revision BIGINT NOT NULL,
    listed   BIGINT NOT NULL CHECK (listed IN (0, 1))
);

-- definition: canonical JSON; NULL where it is too large to be kept. seen_at: since when it is so.
-- accepted_by: the operator who accepted it; NULL where it was there at first use.
CREATE TABLE tools (
    service             TEXT COLLATE "C" NOT NULL,
    name                TEXT COLLATE "C" NOT NULL,
    hash                BYTEA NOT NULL CHECK (length(hash) = 32),
    hint                TEXT COLLATE "C" NOT NULL CHECK (hint IN ('read-only', 'plain', 'destructive')),
    definition          TEXT COLLATE "C",
    seen_at             BIGINT NOT NULL,
    accepted_hash       BYTEA CHECK (length(accepted_hash) = 32),
    accepted_definition TEXT COLLATE "C",
    accepted_at         BIGINT,
    accepted_by         TEXT COLLATE "C",
    PRIMARY KEY (service, name)
);
