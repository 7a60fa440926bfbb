-- Which gateway sends the call, by its number; 0: one that does not live any more.
ALTER TABLE approvals ADD COLUMN node BIGINT NOT NULL DEFAULT 0;
ALTER TABLE idempotency ADD COLUMN node BIGINT NOT NULL DEFAULT 0;

CREATE INDEX idempotency_unfinished ON idempotency (node) WHERE state = 'in_progress';
