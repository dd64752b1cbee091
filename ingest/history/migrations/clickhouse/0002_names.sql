ALTER TABLE {db}.decisions ADD COLUMN IF NOT EXISTS outcome_name String
  ALIAS transform(outcome, [0, 1, 2, 3, 4], ['scored', 'degraded', 'unscored', 'duplicate', 'rejected'], '');

ALTER TABLE {db}.decisions ADD COLUMN IF NOT EXISTS action_name String
  ALIAS transform(action, [0, 1, 2], ['allow', 'review', 'block'], '');

ALTER TABLE {db}.alerts ADD INDEX IF NOT EXISTS by_id id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE {db}.dispositions ADD INDEX IF NOT EXISTS by_id id TYPE bloom_filter(0.01) GRANULARITY 1;
