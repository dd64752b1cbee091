-- An analyst asks for what one of these paid, or took, within a month. Each such index
-- costs what writes a decision some of its speed, so that there are no more of them;
-- the last three are of records that are rare.
CREATE INDEX decisions_card ON decisions (card, event_ms) WHERE card != '';

CREATE INDEX decisions_customer ON decisions (customer, event_ms) WHERE customer != '';

CREATE INDEX decisions_account ON decisions (account, event_ms) WHERE account != '';

CREATE INDEX decisions_merchant ON decisions (merchant, event_ms) WHERE merchant != '';

CREATE INDEX decisions_previous_card ON decisions (previous_card) WHERE previous_card != '';

CREATE INDEX decisions_reversals ON decisions (original_id) WHERE type = 2;

CREATE INDEX entries_rates ON entries (shard, ledger_offset) WHERE kind = 3;
