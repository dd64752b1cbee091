-- When the transaction was, 0 where that is not known, and whose: empty where not.
ALTER TABLE {db}.labels
  ADD COLUMN IF NOT EXISTS time_ms Int64 CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS card String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS customer String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS account String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS counterparty String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS merchant String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS terminal String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS device String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS ip String CODEC(ZSTD(1));
