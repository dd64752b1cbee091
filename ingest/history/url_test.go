package history

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-risk/weir/schemas"
)

// eachURL runs a test over every store there is; url gives a new, empty one.
func eachURL(t *testing.T, fn func(t *testing.T, url func() string, store string)) {
	t.Run("sqlite", func(t *testing.T) {
		fn(t, func() string { return "sqlite:" + filepath.Join(t.TempDir(), "a history?.db") }, "sqlite")
	})
	server := os.Getenv("WEIR_CLICKHOUSE")
	if server == "" {
		return
	}
	t.Run("clickhouse", func(t *testing.T) {
		fn(t, func() string {
			u, err := url.Parse(server)
			if err != nil {
				t.Fatal("WEIR_CLICKHOUSE is no URL")
			}
			u.Path = fmt.Sprintf("/weir_test_%08x", mathrand.Uint32())
			t.Cleanup(func() {
				s, err := openClickHouse(u.String(), Options{})
				if err == nil {
					err = s.(*clickhouseStore).exec(context.Background(), "DROP DATABASE IF EXISTS {db}")
					_ = s.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
			return u.String()
		}, "clickhouse")
	})
}

func TestOpenFailure(t *testing.T) {
	f := func(at string, o Options, says string) {
		t.Helper()
		s, err := Open(t.Context(), at, o)
		if err == nil {
			_ = s.Close()
			t.Errorf("%q opens", at)
			return
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q gives %q, which does not say %q", at, err, says)
		}
		for _, part := range []string{"s3cret", "s3c", "cret"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q gives %q, which tells the password", at, err)
			}
		}
	}
	f("", Options{}, "no file and no URL")
	f("sqlite:", Options{}, "no file is given")
	f("postgres://h/db", Options{}, `scheme "postgres"`)
	f(filepath.Join(t.TempDir(), "none", "history.db"), Options{}, "history.db")
	f("clickhouse://u:s3cret@h:9000", Options{}, "no database")
	f("clickhouse://u:s3cret@h:9000/", Options{}, "no database")
	f("clickhouse://u:s3cret@h:9000/a/b", Options{}, "no database")
	f("clickhouse://u:s3c/ret@h:9000/db", Options{}, "percent-encoded")
	f("clickhouse://u:s3c%ret@h:9000/db", Options{}, "percent-encoded")
	f("clickhouse:h:9000/db", Options{}, "not of the form")
	f("clickhouse://u:s3cret@h:9000/db?secure=yes", Options{}, "secure")
	f("clickhouse://u:s3cret@h:9000/db?compress=lz4", Options{}, "not known") // it may be a password
	f("clickhouse://h:9000/db", Options{CAFile: "ca.pem"}, "secure=true")
	f("clickhouse://h:9000/db?secure=true", Options{CAFile: "none.pem"}, "none.pem")
	f("clickhouse://h:9000/db", Options{PasswordFile: "none.txt"}, "none.txt")
}

func TestClickHouseOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(at string, o Options, address, user, password, database string, secure bool) {
		t.Helper()
		s, err := openClickHouse(at, o)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		c := s.(*clickhouseStore)
		if c.options.Address != address || c.options.User != user || c.options.Password != password || c.database != database || (c.options.TLS != nil) != secure {
			t.Errorf("%q gives %s as %s with %q, %s, TLS %v", at, c.options.Address, c.options.User, c.options.Password, c.database, c.options.TLS != nil)
		}
	}
	f("clickhouse://h/db", Options{}, "h:9000", "default", "", "db", false)
	f("clickhouse://h/db?secure=true", Options{}, "h:9440", "default", "", "db", true)
	f("clickhouse://u:p%2F@h:1/db?secure=false", Options{Password: "x"}, "h:1", "u", "p/", "db", false)
	f("clickhouse://u@[::1]:1/db", Options{Password: "x"}, "[::1]:1", "u", "x", "db", false)
	f("clickhouse://u@h:1/db", Options{Password: "x", PasswordFile: file}, "h:1", "u", "from a file", "db", false)
}

// TestTLSToAStranger connects to a server whose certificate nobody vouches for:
// trying again does not help. Where ClickHouse is there, it stands behind, and
// with the authority given the history opens.
func TestTLSToAStranger(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := ""
	eachURL(t, func(t *testing.T, at func() string, store string) {
		if store == "clickhouse" {
			u, _ := url.Parse(at())
			server = u.Host
		}
	})
	go serveTLS(l, server) // ends with the listener
	at := "clickhouse://" + l.Addr().String() + "/weir?secure=true"
	s, err := Open(t.Context(), at, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Migrate(t.Context()); err == nil || Classify(err) != Stop {
		t.Fatalf("a stranger's certificate gives %v", err)
	}
	if server == "" {
		return
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	known := openWith(t, at, Options{CAFile: ca})
	var one uint8
	if err := known.queryRow(t.Context(), []any{&one}, "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	conn, err := ch.Dial(t.Context(), known.options)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
}

func openWith(t *testing.T, at string, o Options) *clickhouseStore {
	t.Helper()
	s, err := openClickHouse(at, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*clickhouseStore)
}

// serveTLS passes what comes by TLS on to a server; none hangs up.
func serveTLS(l net.Listener, server string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.(*tls.Conn).Handshake()
				return
			}
			defer out.Close()
			go func() {
				_, _ = io.Copy(in, out)
				_ = in.Close()
			}()
			_, _ = io.Copy(out, in)
		}()
	}
}

func TestClassify(t *testing.T) {
	f := func(err error, want Class) {
		t.Helper()
		if got := Classify(fmt.Errorf("write a block: %w", err)); got != want {
			t.Errorf("%v is of class %d, want %d", err, got, want)
		}
	}
	f(io.EOF, Retry)
	f(&net.OpError{Op: "dial", Err: errors.New("connection refused")}, Retry)
	f(context.DeadlineExceeded, Retry)
	f(&ch.Exception{Code: proto.ErrMemoryLimitExceeded}, Retry)
	f(&ch.Exception{Code: proto.ErrTooManyParts}, Retry)
	f(&clickhouse.Exception{Code: 999}, Retry)
	f(&clickhouse.Exception{Code: 516}, Stop) // AUTHENTICATION_FAILED
	f(&ch.Exception{Code: proto.ErrNoSuchColumnInTable}, Stop)
	f(&ch.Exception{Code: proto.ErrUnknownTable}, Stop)
	f(ErrNewer, Stop)
	f(ErrMoved, Stop)
	f(context.Canceled, Stop)
	f(&tls.CertificateVerificationError{Err: errors.New("expired")}, Stop)
}

func TestSQLiteClass(t *testing.T) {
	f := func(code int, want Class) {
		t.Helper()
		if got := sqliteClass(code); got != want {
			t.Errorf("code %d is of class %d, want %d", code, got, want)
		}
	}
	f(5, Retry)        // SQLITE_BUSY
	f(5|1<<8, Retry)   // SQLITE_BUSY_RECOVERY
	f(6, Retry)        // SQLITE_LOCKED
	f(10|13<<8, Retry) // SQLITE_IOERR_SHORT_READ, as of a disk that comes and goes
	f(13, Retry)       // SQLITE_FULL
	f(8, Stop)         // SQLITE_READONLY
	f(11, Stop)        // SQLITE_CORRUPT
	f(14, Stop)        // SQLITE_CANTOPEN
	f(26, Stop)        // SQLITE_NOTADB
}

func TestEventMs(t *testing.T) {
	f := func(time, timestamp, want int64) {
		t.Helper()
		d := schemas.Decision{Place: schemas.Place{Timestamp: timestamp}, Tx: schemas.Transaction{Time: time}}
		if got := eventMs(&d); got != want {
			t.Errorf("time %d, timestamp %d: kept under %d, want %d", time, timestamp, got, want)
		}
	}
	f(1000, 2000, 1000)
	f(0, 2000, 2000) // a record that could not be decoded has its Kafka timestamp only
	f(0, -1, 0)
	f(-5, 2000, 0)
	f(eventMsMax, 2000, eventMsMax-1)
}

// TestABlockIsFull at the first boundary at which one of its sizes is reached:
// where it ends must follow from the log alone.
func TestABlockIsFull(t *testing.T) {
	var b Block
	b.Reset(Alerts, 0, "", Position{})
	for i := range int64(BlockRecords) {
		if b.Full() {
			t.Fatalf("full at %d records", i)
		}
		b.AddRecord(i, 0, nil, []byte("v"))
	}
	if !b.Full() {
		t.Errorf("not full at %d records", b.Records())
	}
	b.Reset(Alerts, 0, "", Position{})
	value := make([]byte, BlockBytes/4)
	for i := range int64(4) {
		if b.Full() {
			t.Fatalf("full at %d values of %d bytes", i, len(value))
		}
		b.AddRecord(i, 0, nil, value)
	}
	if !b.Full() {
		t.Errorf("not full at %d bytes", BlockBytes)
	}
}

// FuzzFacts unpacks arbitrary bytes: no panic, and what unpacks packs to facts
// that unpack to the same.
func FuzzFacts(f *testing.F) {
	var b Block
	f.Add(b.packFacts(nil, &schemas.Facts{Sources: []schemas.Position{{Partition: 1, Offset: 2}}, Records: 3}))
	f.Add([]byte{'w', 0x80})
	f.Fuzz(func(t *testing.T, src []byte) {
		var x, y schemas.Facts
		if unpackFacts(src, &x) != nil {
			return
		}
		packed := b.packFacts(nil, &x)
		if err := unpackFacts(packed, &y); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packed, b.packFacts(nil, &y)) {
			t.Fatalf("facts %+v become %+v", x, y)
		}
	})
}
