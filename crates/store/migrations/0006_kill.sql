-- The kill switch: one row while it is on, none while it is off.
CREATE TABLE kill_switch (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    since    INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    set_by   TEXT NOT NULL
) STRICT;
