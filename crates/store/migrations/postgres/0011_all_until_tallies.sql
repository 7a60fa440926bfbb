-- What SQLite has up to schema 11, in one step. Texts compare byte by byte, as they do there: ranges and orders of ids rest
-- on it. Truth is 0 or 1, as there too.

-- Times are microseconds since 1970 UTC. Ids and names are texts as people see them.

CREATE TABLE meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE sealed (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

-- One counter an area; it moves in the transaction of every change there.
CREATE TABLE revisions (
    area   TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL
);

-- A deleted agent's row stays, so that its name is not given again.
CREATE TABLE agents (
    name       TEXT COLLATE "C" PRIMARY KEY,
    role       TEXT COLLATE "C" NOT NULL,
    scope      TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'disabled', 'deleted')),
    created_at BIGINT NOT NULL
);

-- verifier: `scheme$v=…$…`, what a presented key must hash to; never the key.
CREATE TABLE keys (
    id           TEXT COLLATE "C" PRIMARY KEY,
    agent        TEXT COLLATE "C" NOT NULL REFERENCES agents (name),
    verifier     TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

CREATE TABLE services (
    name       TEXT COLLATE "C" PRIMARY KEY,
    definition TEXT COLLATE "C" NOT NULL,
    revision   BIGINT NOT NULL
);

-- A disabled operator's row stays: the trail names them.
CREATE TABLE operators (
    email         TEXT COLLATE "C" PRIMARY KEY,
    role          TEXT COLLATE "C" NOT NULL,
    password_hash TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    state         TEXT COLLATE "C" NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled'))
);

-- One chain, whichever gateway writes: so seq alone is the key.
-- rec is the event, to the byte; hash is the SHA-256 of those bytes. The columns between are copies out of
-- rec for filtering; `audit verify` derives them again and compares.
CREATE TABLE audit (
    seq     BIGINT  PRIMARY KEY,
    at      BIGINT NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    call_id TEXT COLLATE "C",
    agent   TEXT COLLATE "C",
    service TEXT COLLATE "C",
    action  TEXT COLLATE "C",
    result  TEXT COLLATE "C",
    rec     TEXT COLLATE "C" NOT NULL,
    hash    BYTEA NOT NULL
);

-- Call ids begin with the time, so this index grows at its end too.
CREATE INDEX audit_call ON audit (call_id) WHERE call_id IS NOT NULL;
-- wrapped: the term's key, sealed under the root key. Terms never vanish: old values name them.
CREATE TABLE keyring (
    term       BIGINT  PRIMARY KEY,
    state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'decrypt_only')),
    wrapped    BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
-- A credential's value is sealed under its service, origin, name and version; the store never sees it.
-- origin is the one that it was sealed for: scheme, host and port.
-- A version is never given twice: the row of a removed credential stays without a value.
CREATE TABLE credentials (
    service TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    origin  TEXT COLLATE "C" NOT NULL,
    sealed  BYTEA,
    set_at  BIGINT NOT NULL,
    PRIMARY KEY (service, name)
);

-- What agents may read about a service.
CREATE TABLE documentation (
    service TEXT COLLATE "C" PRIMARY KEY,
    body    TEXT COLLATE "C" NOT NULL
);

-- One row for each call that was made under an idempotency key, for as long as the key is remembered.
-- answer: sealed, once there is one.
CREATE TABLE idempotency (
    agent       TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    call_id     TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('in_progress', 'done', 'unknown')),
    answer      BYTEA,
    claimed_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (agent, key)
);

CREATE INDEX idempotency_expiry ON idempotency (expires_at);
-- One row for each call that was held. What was held never changes; status and what follows it does, by the moves
-- that `domain::approval` knows. The checks repeat the two promises that matter most.
-- live: an identical call meets this row, until its end was delivered or forgotten.
-- ended_with: why it failed without an answer of its upstream.
-- kept: the sealed call and answer are still there.
CREATE TABLE approvals (
    id              TEXT COLLATE "C" PRIMARY KEY,
    agent           TEXT COLLATE "C" NOT NULL,
    status          TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled',
                                                    'executing', 'executed', 'failed', 'unknown')),
    live            BIGINT NOT NULL DEFAULT 1 CHECK (live IN (0, 1)),
    kept            BIGINT NOT NULL DEFAULT 1 CHECK (kept IN (0, 1)),
    quorum          BIGINT NOT NULL CHECK (quorum >= 1),
    approved        BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    decide_by       BIGINT NOT NULL,
    execute_within  BIGINT NOT NULL,
    execute_by      BIGINT,
    claimed_at      BIGINT,
    executed_call   TEXT COLLATE "C",
    http_status     BIGINT,
    ended_at        BIGINT,
    delivered_at    BIGINT,
    resolved_by     TEXT COLLATE "C",
    resolved_why    TEXT COLLATE "C",
    call_id         TEXT COLLATE "C" NOT NULL,
    key_id          TEXT COLLATE "C" NOT NULL,
    role            TEXT COLLATE "C" NOT NULL,
    service         TEXT COLLATE "C" NOT NULL,
    method          TEXT COLLATE "C" NOT NULL,
    action          TEXT COLLATE "C" NOT NULL,
    call_digest     BYTEA NOT NULL,
    approval_digest BYTEA NOT NULL,
    idempotency_key TEXT COLLATE "C",
    policy_hash     TEXT COLLATE "C" NOT NULL,
    rule            TEXT COLLATE "C" NOT NULL,
    rule_place      TEXT COLLATE "C",
    because         TEXT COLLATE "C",
    risk            BIGINT,
    risk_parts      TEXT COLLATE "C",
    credentials     TEXT COLLATE "C" NOT NULL,
    intent          TEXT COLLATE "C",
    args            TEXT COLLATE "C",
    ended_with      TEXT COLLATE "C",
    CHECK (approved >= quorum OR status IN ('pending', 'denied', 'expired', 'cancelled')),
    CHECK ((claimed_at IS NOT NULL) = (status IN ('executing', 'executed', 'failed', 'unknown')))
);

CREATE INDEX approvals_list ON approvals (status, created_at);
CREATE INDEX approvals_newest ON approvals (created_at);
CREATE INDEX approvals_of_agent ON approvals (agent, status, created_at);
CREATE INDEX approvals_alike ON approvals (agent, call_digest, ended_at);
CREATE INDEX approvals_kept ON approvals (ended_at) WHERE kept = 1 AND ended_at IS NOT NULL;
CREATE INDEX approvals_undecided ON approvals (status, decide_by) WHERE status = 'pending';
CREATE INDEX approvals_unclaimed ON approvals (status, execute_by) WHERE status = 'approved';
CREATE INDEX approvals_unclosed ON approvals (status, claimed_at) WHERE status = 'executing';
-- One live row for each call, and for each idempotency key.
CREATE UNIQUE INDEX approvals_live_call ON approvals (agent, call_digest)
    WHERE live = 1 AND idempotency_key IS NULL;
CREATE UNIQUE INDEX approvals_live_key ON approvals (agent, idempotency_key)
    WHERE live = 1 AND idempotency_key IS NOT NULL;

CREATE TABLE approval_decisions (
    approval TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
    operator TEXT COLLATE "C" NOT NULL,
    approve  BIGINT NOT NULL CHECK (approve IN (0, 1)),
    reason   TEXT COLLATE "C",
    at       BIGINT NOT NULL,
    PRIMARY KEY (approval, operator)
);

-- Sealed, and apart from the rows that change and are listed: a body may have many megabytes.
CREATE TABLE approval_bodies (
    approval TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
    purpose  TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('held-call', 'stored-answer')),
    agent    TEXT COLLATE "C" NOT NULL,
    sealed   BYTEA NOT NULL,
    PRIMARY KEY (approval, purpose)
);

INSERT INTO revisions (area, number) VALUES ('approvals', 1);
-- What operators' scripts present in place of a password. verifier: as a key's; never the token.
CREATE TABLE operator_tokens (
    id           TEXT COLLATE "C" PRIMARY KEY,
    operator     TEXT COLLATE "C" NOT NULL REFERENCES operators (email),
    verifier     TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

-- Wrong passwords in a row, by the address that was typed: one that nobody has waits like one that somebody has.
CREATE TABLE wrong_passwords (
    email TEXT COLLATE "C" PRIMARY KEY,
    count BIGINT NOT NULL,
    at    BIGINT NOT NULL
);
-- The kill switch: one row while it is on, none while it is off.
CREATE TABLE kill_switch (
    only_one BIGINT  PRIMARY KEY CHECK (only_one = 1),
    since    BIGINT NOT NULL,
    reason   TEXT COLLATE "C" NOT NULL,
    set_by   TEXT COLLATE "C" NOT NULL
);
-- How far each sink of notifications has been told the trail: everything up to seq was delivered, given up, or not for
-- it. sink: the SHA-256 of its URL, because a URL may have a secret in it.
CREATE TABLE notify_cursors (
    sink TEXT COLLATE "C" PRIMARY KEY,
    seq  BIGINT NOT NULL
);
-- What trusted services' tools say about themselves, for risk: learned from the lists that pass.
-- upstream: SHA-256 of the upstream that said it; another upstream's tools are others.
CREATE TABLE tool_hints (
    service  TEXT COLLATE "C" NOT NULL,
    upstream BYTEA NOT NULL CHECK (length(upstream) = 32),
    tool     TEXT COLLATE "C" NOT NULL,
    hint     TEXT COLLATE "C" NOT NULL CHECK (hint IN ('read-only', 'plain', 'destructive')),
    PRIMARY KEY (service, tool)
);
-- Logins of operators to the console. A row stays some days after its end, so that people see what was ended.
CREATE TABLE sessions (
    id         TEXT COLLATE "C" PRIMARY KEY,
    operator   TEXT COLLATE "C" NOT NULL REFERENCES operators (email),
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at   BIGINT,
    address    TEXT COLLATE "C" NOT NULL,
    browser    TEXT COLLATE "C" NOT NULL
);

CREATE INDEX sessions_of_operator ON sessions (operator, created_at);

-- A session's refresh tokens, the used ones too: one that comes again ends the session. verifier: as a key's.
-- by_page: a page was renewed with it, and others of the same browser may have been under way with the same cookie.
CREATE TABLE refresh_tokens (
    verifier TEXT COLLATE "C" PRIMARY KEY,
    session  TEXT COLLATE "C" NOT NULL REFERENCES sessions (id),
    used_at  BIGINT,
    by_page  BIGINT NOT NULL DEFAULT 0 CHECK (by_page IN (0, 1))
);

CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session);
-- Figures of the trail, counted once, so that the overview need not read a million events. They can be thrown away and
-- counted again: the trail is the truth.
-- span: seconds; start: the first second of the span since 1970; what: 'result', 'agent', 'service', 'rule' …
CREATE TABLE tallies (
    what  TEXT COLLATE "C" NOT NULL,
    span  BIGINT NOT NULL,
    start BIGINT NOT NULL,
    name  TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (what, span, start, name)
);

-- How far the trail is counted: everything up to seq.
CREATE TABLE tally_cursor (
    only_one BIGINT  PRIMARY KEY CHECK (only_one = 1),
    seq      BIGINT NOT NULL
);

INSERT INTO tally_cursor (only_one, seq) VALUES (1, 0);
