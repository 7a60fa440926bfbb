-- Figures of the trail, counted once, so that the overview need not read a million events. They can be thrown away and
-- counted again: the trail is the truth.
-- span: seconds; start: the first second of the span since 1970; what: 'result', 'agent', 'service', 'rule' …
CREATE TABLE tallies (
    what  TEXT NOT NULL,
    span  INTEGER NOT NULL,
    start INTEGER NOT NULL,
    name  TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (what, span, start, name)
) STRICT, WITHOUT ROWID;

-- How far the trail is counted: everything up to seq.
CREATE TABLE tally_cursor (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    seq      INTEGER NOT NULL
) STRICT;

INSERT INTO tally_cursor (only_one, seq) VALUES (1, 0);
