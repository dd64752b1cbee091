package history_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-risk/weir/ingest/history"
)

// clickhouseURL returns the URL of a new database on the server that
// WEIR_CLICKHOUSE names, as `make integration` does; empty where none is named.
func clickhouseURL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("WEIR_CLICKHOUSE")
	if server == "" {
		return ""
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("WEIR_CLICKHOUSE is no URL")
	}
	u.Path = fmt.Sprintf("/weir_test_%08x", rand.Uint32())
	t.Cleanup(func() { askClickHouse(t, u.String(), "DROP DATABASE IF EXISTS `"+u.Path[1:]+"`") })
	return u.String()
}

// askClickHouse runs one statement on the server of a URL.
func askClickHouse(t testing.TB, server, text string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{u.Host}, Auth: clickhouse.Auth{Username: u.User.Username(), Password: password}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(context.Background(), text); err != nil {
		t.Error(err)
	}
}

// eachStore runs a test over every store there is: SQLite always, ClickHouse
// where a server is named.
func eachStore(t *testing.T, fn func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, filepath.Join(t.TempDir(), "history.db")) })
	if url := clickhouseURL(t); url != "" {
		t.Run("clickhouse", func(t *testing.T) { fn(t, url) })
	}
}

// open opens a history and brings its schema up to date.
func open(t testing.TB, url string) history.Store {
	t.Helper()
	s, err := history.Open(t.Context(), url, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
