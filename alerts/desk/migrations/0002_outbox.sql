CREATE TABLE outbox (
	place      INTEGER PRIMARY KEY AUTOINCREMENT,
	entry      BLOB NOT NULL            -- of the audit log, as its topic has it
) STRICT;
