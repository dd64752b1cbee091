CREATE TABLE tokens (
	token      INTEGER PRIMARY KEY AUTOINCREMENT,
	hash       BLOB NOT NULL UNIQUE,    -- SHA-256 of the token
	user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
	name       TEXT NOT NULL,           -- what it is for
	roles      TEXT NOT NULL,           -- at most these of the account's
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	used_ms    INTEGER NOT NULL,        -- to the minute; 0 for never
	revoked_ms INTEGER NOT NULL         -- 0 where it is not
) STRICT;

CREATE INDEX tokens_user ON tokens (user);

CREATE TABLE requests (
	user       TEXT NOT NULL,
	key        BLOB NOT NULL,           -- SHA-256 of the Idempotency-Key
	body       BLOB NOT NULL,           -- SHA-256 of what was asked
	alert      TEXT NOT NULL,           -- that it acts on; empty while none is chosen
	at_ms      INTEGER NOT NULL,
	PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_at ON requests (at_ms);
