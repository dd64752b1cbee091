package spec

// The limits of a spec. They are far above what a bank needs; each keeps one
// mistake from becoming a service that runs out of memory.
const (
	MaxText       = 1 << 20 // bytes of a spec
	MaxLine       = 4096    // bytes of a line
	MaxLines      = 16384
	MaxFeatures   = 1024
	MaxAggregates = 2048 // distinct ones
	MaxEntities   = 16
	MaxKeys       = 4 // fields keyed together in one entity
	MaxGroups     = 8 // distinct groups of features
	MaxRules      = 64
	MaxOwnText    = 32
	MaxOwnNumber  = 64
	MaxName       = 96  // bytes of a name of a feature or field
	MaxString     = 256 // bytes of a text in quotes
	MaxPath       = 16  // keys of a JSON path
	MaxTerms      = 256 // terms of one line's expression
	MaxNesting    = 32  // parentheses within parentheses

	MaxWindow   = 400 * day // 13 months, so that the same season a year ago is in reach
	MaxDelay    = 400 * day
	MaxLate     = 30 * day
	MaxDedup    = 90 * day
	MaxFuture   = day
	MaxMaturity = 800 * day

	MinRecord, MaxRecord = 256, 1 << 20 // bounds of max_bytes
	MinDepth, MaxDepth   = 1, 64        // bounds of max_depth
)

// What holds where the spec says nothing.
const (
	defaultBase     = "EUR"
	defaultDedup    = 7 * day
	defaultLate     = day
	defaultFuture   = 5 * minute
	defaultMaturity = 90 * day
	defaultBytes    = 65536
	defaultDepth    = 16
	// defaultFraudRun is the window of a fraud_run without over: compromises are
	// found within weeks, and a run that began a quarter ago has ended.
	defaultFraudRun = 90 * day
)

// Durations in milliseconds.
const (
	second int64 = 1000
	minute       = 60 * second
	hour         = 60 * minute
	day          = 24 * hour
	week         = 7 * day
)
