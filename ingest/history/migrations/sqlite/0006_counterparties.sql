-- The other side of a transfer is asked about as a merchant is.
CREATE INDEX decisions_counterparty ON decisions (counterparty, event_ms) WHERE counterparty != '';
