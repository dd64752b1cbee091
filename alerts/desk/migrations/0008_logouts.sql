-- Which session at an identity provider a session comes of; empty where a password let
-- the person in, or the provider does not say.
ALTER TABLE sessions ADD COLUMN sid TEXT NOT NULL DEFAULT '';

CREATE INDEX sessions_sid ON sessions (sid) WHERE sid <> '';

-- What an identity provider has ended, until it cannot be told again.
CREATE TABLE logouts (
	issuer     TEXT NOT NULL,
	jti        TEXT NOT NULL,           -- of the token that told
	subject    TEXT NOT NULL,           -- whose sessions, empty where it said which alone
	sid        TEXT NOT NULL,           -- which of them, empty for all
	at_s       INTEGER NOT NULL,        -- when, in seconds by the provider's clock
	until_ms   INTEGER NOT NULL,
	PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;

CREATE INDEX logouts_until ON logouts (until_ms);
