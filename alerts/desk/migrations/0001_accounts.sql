CREATE TABLE users (
	name       TEXT PRIMARY KEY,
	display    TEXT NOT NULL,
	roles      TEXT NOT NULL,           -- names, with commas between them
	disabled   INTEGER NOT NULL,
	password   TEXT NOT NULL,           -- PHC string of argon2id
	generation INTEGER NOT NULL,        -- of what lets the user in
	created_ms INTEGER NOT NULL,
	changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
	session    INTEGER PRIMARY KEY AUTOINCREMENT,
	id         BLOB NOT NULL UNIQUE,    -- SHA-256 of what the cookie holds
	user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
	address    TEXT NOT NULL,
	began_ms   INTEGER NOT NULL,
	seen_ms    INTEGER NOT NULL,        -- to the minute
	drawn_ms   INTEGER NOT NULL,        -- since when it has this id
	next       BLOB UNIQUE,             -- the id to come, once the browser shows it
	next_ms    INTEGER NOT NULL,        -- when it was drawn
	old        BLOB UNIQUE,             -- the id before this one
	old_ms     INTEGER NOT NULL         -- until when that is still taken
) STRICT;

CREATE INDEX sessions_user ON sessions (user);

CREATE TABLE lockouts (
	name       TEXT PRIMARY KEY,        -- of an account or of none
	until_ms   INTEGER NOT NULL,
	times      INTEGER NOT NULL         -- in a row
) STRICT, WITHOUT ROWID;

CREATE INDEX lockouts_until ON lockouts (until_ms);
