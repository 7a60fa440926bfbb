-- Why an approved call failed without an answer of its upstream: the code of what went wrong.

ALTER TABLE approvals ADD COLUMN ended_with TEXT;
