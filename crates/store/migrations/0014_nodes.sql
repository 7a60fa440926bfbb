-- Which gateway sends the call, by its number, where several share a store; 0: one that does not live any more, or the
-- only one there is.
ALTER TABLE approvals ADD COLUMN node INTEGER NOT NULL DEFAULT 0;
ALTER TABLE idempotency ADD COLUMN node INTEGER NOT NULL DEFAULT 0;

CREATE INDEX idempotency_unfinished ON idempotency (node) WHERE state = 'in_progress';
