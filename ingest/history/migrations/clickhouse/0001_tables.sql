-- What was acknowledged must be on the disk before progress says so: a block
-- that a machine's fall took back would never be written again. Hence fsync.

-- Streams and where they are written to. A row with done = 0 says that a block
-- up to next was begun; one with done = 1 that it is whole.
CREATE TABLE IF NOT EXISTS {db}.progress (
  stream LowCardinality(String), part Int32, done UInt8, next Int64,
  head_writer UInt64, head_sequence UInt64, written DateTime('UTC') DEFAULT now()
) ENGINE = ReplacingMergeTree(next) ORDER BY (stream, part, done)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- event_ms is the event's time, or that of the Kafka record where it has none.
CREATE TABLE IF NOT EXISTS {db}.decisions (
  tenant LowCardinality(String),
  event_ms Int64 CODEC(Delta, ZSTD(1)),
  source LowCardinality(String),
  source_partition Int32,
  source_offset Int64 CODEC(Delta, ZSTD(1)),
  source_prev Int64 CODEC(Delta, ZSTD(1)),
  source_ms Int64 CODEC(Delta, ZSTD(1)),
  shard Int32,
  ledger_offset Int64 CODEC(Delta, ZSTD(1)),
  time_ms Int64 CODEC(Delta, ZSTD(1)),
  amount Int64 CODEC(T64, ZSTD(1)),
  amount_base Int64 CODEC(T64, ZSTD(1)),
  type UInt8, status UInt8, outcome UInt8, reason UInt16, flags UInt8, action UInt8,
  id String CODEC(ZSTD(1)),
  original_id String CODEC(ZSTD(1)),
  currency LowCardinality(String),
  card String CODEC(ZSTD(1)),
  customer String CODEC(ZSTD(1)),
  account String CODEC(ZSTD(1)),
  counterparty String CODEC(ZSTD(1)),
  merchant String CODEC(ZSTD(1)),
  mcc LowCardinality(String),
  terminal String CODEC(ZSTD(1)),
  country LowCardinality(String),
  channel LowCardinality(String),
  entry_mode LowCardinality(String),
  device String CODEC(ZSTD(1)),
  ip String CODEC(ZSTD(1)),
  previous_card String CODEC(ZSTD(1)),
  own_text Array(String) CODEC(ZSTD(1)),
  own_number Array(Float64) CODEC(ZSTD(1)),
  features Array(Float32) CODEC(ZSTD(1)),
  score Float32, probability Float32, threshold Float32, rank Float32, review_probability Float32,
  arithmetic UInt8,
  bundle UInt64 CODEC(ZSTD(1)), spec UInt64 CODEC(ZSTD(1)), engine UInt64 CODEC(ZSTD(1)), challenger UInt64 CODEC(ZSTD(1)),
  challenger_score Float32,
  raw String CODEC(ZSTD(1)),
  INDEX by_ledger ledger_offset TYPE minmax GRANULARITY 1,
  INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(event_ms, 'UTC'))
ORDER BY (tenant, event_ms, source, source_partition, source_offset)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS {db}.entries (
  shard Int32, ledger_offset Int64, kind UInt8, value String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY (shard, ledger_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS {db}.batches (
  shard Int32, base Int64, records Int64, written_ms Int64,
  writer UInt64, sequence UInt64, extends_writer UInt64, extends_sequence UInt64,
  bundle FixedString(32) CODEC(ZSTD(1)), spec FixedString(32) CODEC(ZSTD(1)), engine FixedString(32) CODEC(ZSTD(1)),
  facts String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY (shard, base)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS {db}.labels (
  tx_id String CODEC(ZSTD(1)), source UInt8, version UInt32, shard Int32, ledger_offset Int64,
  known_ms Int64, verdict UInt8, fraud_type LowCardinality(String),
  selected LowCardinality(String), selected_probability Float32
) ENGINE = ReplacingMergeTree ORDER BY (tx_id, source, version, shard, ledger_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS {db}.alerts (
  id String, part Int32, topic_offset Int64, written_ms Int64, value String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY (part, topic_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS {db}.dispositions (
  id String, part Int32, topic_offset Int64, written_ms Int64, value String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY (part, topic_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
