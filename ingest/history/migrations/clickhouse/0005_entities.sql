-- Decisions lie by time. Of a month those of one card are a few in as many granules,
-- which these tell from all the others; a part that is there already gets them in the
-- background.
ALTER TABLE {db}.decisions
  ADD INDEX IF NOT EXISTS by_card card TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_customer customer TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_account account TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_merchant merchant TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_terminal terminal TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_device device TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_previous_card previous_card TYPE bloom_filter(0.01) GRANULARITY 1,
  ADD INDEX IF NOT EXISTS by_original original_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE {db}.decisions
  MATERIALIZE INDEX by_card, MATERIALIZE INDEX by_customer, MATERIALIZE INDEX by_account, MATERIALIZE INDEX by_merchant,
  MATERIALIZE INDEX by_terminal, MATERIALIZE INDEX by_device, MATERIALIZE INDEX by_previous_card, MATERIALIZE INDEX by_original;
