CREATE TABLE views (
	view       INTEGER PRIMARY KEY AUTOINCREMENT,
	user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	query      TEXT NOT NULL,           -- of the queue's address
	shared     INTEGER NOT NULL,        -- everybody sees it
	UNIQUE (user, name)
) STRICT;

CREATE TABLE view_defaults (
	user       TEXT PRIMARY KEY REFERENCES users (name) ON DELETE CASCADE,
	view       INTEGER NOT NULL REFERENCES views (view) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
