-- What somebody paid, or took, within a month, and by day. In the order of time that is
-- in as many granules as there are payments, of a merchant in all; by these projections
-- it lies together. They hold what payments and days are told by and no more; a part
-- that is there already gets them in the background. Parts whose copies are merged away
-- make theirs anew, which ClickHouse does from 24.8 on.
ALTER TABLE {db}.decisions MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

ALTER TABLE {db}.decisions
  ADD PROJECTION IF NOT EXISTS of_card (SELECT card, event_ms, shard, ledger_offset, time_ms, amount, amount_base, type, status,
    outcome, reason, flags, probability, id, currency, counterparty, merchant ORDER BY card, event_ms),
  ADD PROJECTION IF NOT EXISTS of_customer (SELECT customer, event_ms, shard, ledger_offset, time_ms, amount, amount_base, type, status,
    outcome, reason, flags, probability, id, currency, counterparty, merchant ORDER BY customer, event_ms),
  ADD PROJECTION IF NOT EXISTS of_account (SELECT account, event_ms, shard, ledger_offset, time_ms, amount, amount_base, type, status,
    outcome, reason, flags, probability, id, currency, counterparty, merchant ORDER BY account, event_ms),
  ADD PROJECTION IF NOT EXISTS of_counterparty (SELECT event_ms, shard, ledger_offset, time_ms, amount, amount_base, type, status,
    outcome, reason, flags, probability, id, currency, counterparty, merchant ORDER BY counterparty, event_ms),
  ADD PROJECTION IF NOT EXISTS of_merchant (SELECT event_ms, shard, ledger_offset, time_ms, amount, amount_base, type, status,
    outcome, reason, flags, probability, id, currency, counterparty, merchant ORDER BY merchant, event_ms);

ALTER TABLE {db}.decisions
  MATERIALIZE PROJECTION of_card, MATERIALIZE PROJECTION of_customer, MATERIALIZE PROJECTION of_account,
  MATERIALIZE PROJECTION of_counterparty, MATERIALIZE PROJECTION of_merchant;
