CREATE TABLE progress (
  stream TEXT NOT NULL, part INTEGER NOT NULL,
  next INTEGER NOT NULL, head_writer INTEGER NOT NULL, head_sequence INTEGER NOT NULL,
  PRIMARY KEY (stream, part)
) WITHOUT ROWID;

CREATE TABLE decisions (
  tenant TEXT NOT NULL, event_ms INTEGER NOT NULL,
  source TEXT NOT NULL, source_partition INTEGER NOT NULL, source_offset INTEGER NOT NULL, source_prev INTEGER NOT NULL, source_ms INTEGER NOT NULL,
  shard INTEGER NOT NULL, ledger_offset INTEGER NOT NULL,
  time_ms INTEGER NOT NULL, amount INTEGER NOT NULL, amount_base INTEGER NOT NULL, type INTEGER NOT NULL, status INTEGER NOT NULL,
  outcome INTEGER NOT NULL, reason INTEGER NOT NULL, flags INTEGER NOT NULL, action INTEGER NOT NULL,
  id TEXT NOT NULL, original_id TEXT NOT NULL, currency TEXT NOT NULL, card TEXT NOT NULL, customer TEXT NOT NULL, account TEXT NOT NULL,
  counterparty TEXT NOT NULL, merchant TEXT NOT NULL, mcc TEXT NOT NULL, terminal TEXT NOT NULL, country TEXT NOT NULL, channel TEXT NOT NULL,
  entry_mode TEXT NOT NULL, device TEXT NOT NULL, ip TEXT NOT NULL, previous_card TEXT NOT NULL,
  own_text BLOB, own_number BLOB, features BLOB,
  score REAL, probability REAL, threshold REAL, rank REAL, review_probability REAL, arithmetic INTEGER NOT NULL,
  bundle INTEGER NOT NULL, spec INTEGER NOT NULL, engine INTEGER NOT NULL, challenger INTEGER NOT NULL, challenger_score REAL,
  raw BLOB
);

CREATE UNIQUE INDEX decisions_ledger ON decisions (shard, ledger_offset);

CREATE INDEX decisions_time ON decisions (tenant, event_ms, source_partition, source_offset);

CREATE INDEX decisions_id ON decisions (id);

CREATE TABLE entries (
  shard INTEGER NOT NULL, ledger_offset INTEGER NOT NULL, kind INTEGER NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (shard, ledger_offset)
) WITHOUT ROWID;

CREATE TABLE batches (
  shard INTEGER NOT NULL, base INTEGER NOT NULL, records INTEGER NOT NULL, written_ms INTEGER NOT NULL,
  writer INTEGER NOT NULL, sequence INTEGER NOT NULL, extends_writer INTEGER NOT NULL, extends_sequence INTEGER NOT NULL,
  bundle BLOB NOT NULL, spec BLOB NOT NULL, engine BLOB NOT NULL, facts BLOB NOT NULL,
  PRIMARY KEY (shard, base)
) WITHOUT ROWID;

CREATE TABLE labels (
  tx_id TEXT NOT NULL, source INTEGER NOT NULL, version INTEGER NOT NULL, shard INTEGER NOT NULL, ledger_offset INTEGER NOT NULL,
  known_ms INTEGER NOT NULL, verdict INTEGER NOT NULL, fraud_type TEXT NOT NULL, selected TEXT NOT NULL, selected_probability REAL,
  PRIMARY KEY (tx_id, source, version, shard, ledger_offset)
) WITHOUT ROWID;

CREATE TABLE alerts (
  id TEXT NOT NULL, part INTEGER NOT NULL, topic_offset INTEGER NOT NULL, written_ms INTEGER NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (part, topic_offset)
) WITHOUT ROWID;

CREATE TABLE dispositions (
  id TEXT NOT NULL, part INTEGER NOT NULL, topic_offset INTEGER NOT NULL, written_ms INTEGER NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (part, topic_offset)
) WITHOUT ROWID;
