-- Logins of operators to the console. A row stays some days after its end, so that people see what was ended.
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    operator   TEXT NOT NULL REFERENCES operators (email),
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER,
    address    TEXT NOT NULL,
    browser    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_operator ON sessions (operator, created_at);

-- A session's refresh tokens, the used ones too: one that comes again ends the session. verifier: as a key's.
-- by_page: a page was renewed with it, and others of the same browser may have been under way with the same cookie.
CREATE TABLE refresh_tokens (
    verifier TEXT PRIMARY KEY,
    session  TEXT NOT NULL REFERENCES sessions (id),
    used_at  INTEGER,
    by_page  INTEGER NOT NULL DEFAULT 0 CHECK (by_page IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session);
