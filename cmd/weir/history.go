package main

import "flag"

// historyFlags say where the history is kept.
type historyFlags struct{ url string }

func addHistory(fs *flag.FlagSet) *historyFlags {
	h := &historyFlags{}
	fs.StringVar(&h.url, "history", "", "`URL` of the history: clickhouse://HOST:PORT/DATABASE, or a file of SQLite\n(history.db in the data folder if not given)")
	return h
}
