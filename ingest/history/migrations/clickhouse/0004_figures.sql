-- What a day of event time came to, of each bundle that decided in it; 0 is of all.
-- What is written later counts.
CREATE TABLE IF NOT EXISTS {db}.figures (
  day Date, bundle UInt64, quantity String, value Float64, written DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(written) ORDER BY (day, bundle, quantity)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
