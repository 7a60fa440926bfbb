-- One row for each call that was held. What was held never changes; status and what follows it does, by the moves
-- that `domain::approval` knows. The checks repeat the two promises that matter most.
-- live: an identical call meets this row, until its end was delivered or forgotten.
-- kept: the sealed call and answer are still there.
CREATE TABLE approvals (
    id              TEXT PRIMARY KEY,
    agent           TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled',
                                                    'executing', 'executed', 'failed', 'unknown')),
    live            INTEGER NOT NULL DEFAULT 1 CHECK (live IN (0, 1)),
    kept            INTEGER NOT NULL DEFAULT 1 CHECK (kept IN (0, 1)),
    quorum          INTEGER NOT NULL CHECK (quorum >= 1),
    approved        INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    decide_by       INTEGER NOT NULL,
    execute_within  INTEGER NOT NULL,
    execute_by      INTEGER,
    claimed_at      INTEGER,
    executed_call   TEXT,
    http_status     INTEGER,
    ended_at        INTEGER,
    delivered_at    INTEGER,
    resolved_by     TEXT,
    resolved_why    TEXT,
    call_id         TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    role            TEXT NOT NULL,
    service         TEXT NOT NULL,
    method          TEXT NOT NULL,
    action          TEXT NOT NULL,
    call_digest     BLOB NOT NULL,
    approval_digest BLOB NOT NULL,
    idempotency_key TEXT,
    policy_hash     TEXT NOT NULL,
    rule            TEXT NOT NULL,
    rule_place      TEXT,
    because         TEXT,
    risk            INTEGER,
    risk_parts      TEXT,
    credentials     TEXT NOT NULL,
    intent          TEXT,
    args            TEXT,
    CHECK (approved >= quorum OR status IN ('pending', 'denied', 'expired', 'cancelled')),
    CHECK ((claimed_at IS NOT NULL) = (status IN ('executing', 'executed', 'failed', 'unknown')))
) STRICT;

CREATE INDEX approvals_list ON approvals (status, created_at);
CREATE INDEX approvals_newest ON approvals (created_at);
CREATE INDEX approvals_of_agent ON approvals (agent, status, created_at);
CREATE INDEX approvals_alike ON approvals (agent, call_digest, ended_at);
CREATE INDEX approvals_kept ON approvals (ended_at) WHERE kept = 1 AND ended_at IS NOT NULL;
-- The status comes first though it is always the same: without it SQLite prefers approvals_list.
CREATE INDEX approvals_undecided ON approvals (status, decide_by) WHERE status = 'pending';
CREATE INDEX approvals_unclaimed ON approvals (status, execute_by) WHERE status = 'approved';
CREATE INDEX approvals_unclosed ON approvals (status, claimed_at) WHERE status = 'executing';
-- One live row for each call, and for each idempotency key.
CREATE UNIQUE INDEX approvals_live_call ON approvals (agent, call_digest)
    WHERE live = 1 AND idempotency_key IS NULL;
CREATE UNIQUE INDEX approvals_live_key ON approvals (agent, idempotency_key)
    WHERE live = 1 AND idempotency_key IS NOT NULL;

CREATE TABLE approval_decisions (
    approval TEXT NOT NULL REFERENCES approvals (id),
    operator TEXT NOT NULL,
    approve  INTEGER NOT NULL CHECK (approve IN (0, 1)),
    reason   TEXT,
    at       INTEGER NOT NULL,
    PRIMARY KEY (approval, operator)
) STRICT, WITHOUT ROWID;

-- Sealed, and apart from the rows that change and are listed: a body may have many megabytes.
CREATE TABLE approval_bodies (
    approval TEXT NOT NULL REFERENCES approvals (id),
    purpose  TEXT NOT NULL CHECK (purpose IN ('held-call', 'stored-answer')),
    agent    TEXT NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (approval, purpose)
) STRICT;

INSERT INTO revisions (area, number) VALUES ('approvals', 1);
