-- What trusted services' tools say about themselves, for risk: learned from the lists that pass.
-- upstream: SHA-256 of the upstream that said it; another upstream's tools are others.
CREATE TABLE tool_hints (
    service  TEXT NOT NULL,
    upstream BLOB NOT NULL CHECK (length(upstream) = 32),
    tool     TEXT NOT NULL,
    hint     TEXT NOT NULL CHECK (hint IN ('read-only', 'plain', 'destructive')),
    PRIMARY KEY (service, tool)
) STRICT, WITHOUT ROWID;
