CREATE TABLE webhooks (
	webhook    INTEGER PRIMARY KEY AUTOINCREMENT,
	url        TEXT NOT NULL,
	events     TEXT NOT NULL,           -- names, with commas between them
	secret     BLOB NOT NULL,           -- in clear: it signs
	enabled    INTEGER NOT NULL,
	by         TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	last_ms    INTEGER NOT NULL,        -- of the last attempt; 0 for none
	last       TEXT NOT NULL            -- what came of it, empty for taken
) STRICT;

CREATE TABLE webhook_positions (
	webhook    INTEGER NOT NULL REFERENCES webhooks (webhook) ON DELETE CASCADE,
	topic      TEXT NOT NULL,
	part       INTEGER NOT NULL,
	id         BLOB NOT NULL,           -- of the topic
	at         INTEGER NOT NULL,        -- of what was last made a delivery, or passed over
	PRIMARY KEY (webhook, topic, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
	delivery   INTEGER PRIMARY KEY AUTOINCREMENT,
	webhook    INTEGER NOT NULL REFERENCES webhooks (webhook) ON DELETE CASCADE,
	id         TEXT NOT NULL,           -- webhook-id
	event      TEXT NOT NULL,
	alert      TEXT NOT NULL,
	body       BLOB NOT NULL,
	made_ms    INTEGER NOT NULL,
	due_ms     INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	failure    TEXT NOT NULL,           -- of the last attempt
	dead       INTEGER NOT NULL,        -- given up
	UNIQUE (webhook, id)
) STRICT;

CREATE INDEX deliveries_due ON deliveries (webhook, dead, due_ms);
