ALTER TABLE decisions ADD COLUMN outcome_name TEXT GENERATED ALWAYS AS
  (CASE outcome WHEN 0 THEN 'scored' WHEN 1 THEN 'degraded' WHEN 2 THEN 'unscored' WHEN 3 THEN 'duplicate' WHEN 4 THEN 'rejected' END) VIRTUAL;

ALTER TABLE decisions ADD COLUMN action_name TEXT GENERATED ALWAYS AS
  (CASE action WHEN 0 THEN 'allow' WHEN 1 THEN 'review' WHEN 2 THEN 'block' END) VIRTUAL;

CREATE INDEX alerts_id ON alerts (id);

CREATE INDEX dispositions_id ON dispositions (id);
