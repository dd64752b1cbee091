// Package schemas holds weir's nouns and their wire forms: the transaction as
// columns, the decision and the other records of the ledger, labels, alerts and
// dispositions, and the names and layouts of the topics. It imports nothing of
// weir's.
package schemas
