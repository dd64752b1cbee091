CREATE TABLE proposals (
	id          TEXT PRIMARY KEY,
	slot        TEXT NOT NULL,           -- of models that it fills
	what        TEXT NOT NULL,           -- promote, rollback
	bundle      TEXT NOT NULL,           -- SHA-256, hex
	name        TEXT NOT NULL,           -- the bundle's, for people
	before      TEXT NOT NULL,           -- the bundle in the slot when it was proposed
	before_ms   INTEGER NOT NULL,        -- when the slot was signed that it was in
	reason      TEXT NOT NULL,
	by          TEXT NOT NULL,
	at_ms       INTEGER NOT NULL,
	state       TEXT NOT NULL,           -- open, approved, done, declined, withdrawn, stale, failed
	decided_by  TEXT NOT NULL,
	decided_ms  INTEGER NOT NULL,
	outcome     TEXT NOT NULL            -- what came of it, in words
) STRICT, WITHOUT ROWID;

-- One at a time: two that are open at once would each be about a slot that the other changes.
CREATE UNIQUE INDEX proposals_open ON proposals (slot) WHERE state IN ('open', 'approved');

CREATE INDEX proposals_at ON proposals (at_ms);
