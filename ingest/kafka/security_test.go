package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// authority signs the certificates of one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, "ca")
	return a
}

// sign makes a certificate and its key and writes both as name.pem and
// name.key; the first one signs itself.
func (a *authority) sign(t *testing.T, c *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.n++
	c.SerialNumber, c.Subject = big.NewInt(a.n), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}))
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// server returns the configuration of a broker that asks for a client's
// certificate where clients is set.
func (a *authority) server(t *testing.T, clients bool) *tls.Config {
	t.Helper()
	c, key := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "broker")
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}}}
	if clients {
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AddCert(a.cert)
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func secureCluster(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// dialWith does everything a node does over a connection: hot path,
// administration and membership.
func dialWith(t *testing.T, addr string, s kafka.Security) error {
	t.Helper()
	o := kafka.Options{Brokers: []string{addr}, Timeout: 2 * time.Second}
	if err := s.Apply(&o); err != nil {
		t.Fatal(err)
	}
	c := kafka.New(o)
	defer c.Close()
	ctx := t.Context()
	topic := fmt.Sprintf("secure%x", mathrand.Uint64())
	if err := c.Ensure(ctx, []schemas.Layout{{Topic: topic, Partitions: 1}}); err != nil {
		return err
	}
	if _, err := c.Describe(ctx, topic); err != nil {
		return err
	}
	if err := c.CommitOffsets(ctx, topic+".progress", topic, map[int32]int64{0: 1}); err != nil {
		return err
	}
	var w kafka.BatchWriter
	w.Append(nil, []byte("value"), 1, nil)
	batch, err := w.Finish(kafka.LZ4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Produce(ctx, topic, 0, batch); err != nil {
		return err
	}
	if list, _ := readAll(t, c, topic, 0); len(list) != 1 {
		t.Errorf("%d records read", len(list))
	}
	m, err := kafka.Join(ctx, c, topic+".g", topic, kafka.GroupOptions{})
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.Wait(ctx, 0)
	return err
}

const password = "hunter2-and-more"

func TestSecuritySuccess(t *testing.T) {
	a := newAuthority(t)
	a.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, "client")
	write(t, a.file("password"), []byte(password+"\n"))
	f := func(name string, s kafka.Security, opts ...kfake.Opt) {
		t.Helper()
		if err := dialWith(t, secureCluster(t, opts...), s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("nothing", kafka.Security{})
	f("TLS", kafka.Security{CAFile: a.file("ca.pem")}, kfake.TLS(a.server(t, false)))
	mutual := kafka.Security{TLS: true, CAFile: a.file("ca.pem"), CertFile: a.file("client.pem"), KeyFile: a.file("client.key")}
	f("client's certificate", mutual, kfake.TLS(a.server(t, true)))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		user := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(mechanism, "weir", password)}
		f(mechanism, kafka.Security{Mechanism: mechanism, User: "weir", Password: password}, user...)
		f(mechanism+" from a file, over TLS", kafka.Security{CAFile: a.file("ca.pem"), Mechanism: mechanism, User: "weir", PasswordFile: a.file("password")},
			append(user, kfake.TLS(a.server(t, false)))...)
	}
}

func TestSecurityFailure(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	other.sign(t, &x509.Certificate{}, "client")
	f := func(name, want string, class kafka.Class, s kafka.Security, opts ...kfake.Opt) {
		t.Helper()
		err := dialWith(t, secureCluster(t, opts...), s)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want it to say %q", name, err, want)
		}
		if got := kafka.Classify(err); got != class {
			t.Errorf("%s: class %d, want %d: %v", name, got, class, err)
		}
	}
	f("unknown authority", "give the file of the authority", kafka.Stop, kafka.Security{CAFile: other.file("ca.pem")}, kfake.TLS(a.server(t, false)))
	f("no TLS to a broker with TLS", "may ask for TLS", kafka.Retry, kafka.Security{}, kfake.TLS(a.server(t, false)))
	f("TLS to a broker without", "does the broker speak TLS", kafka.Retry, kafka.Security{TLS: true})
	f("no client's certificate", "client's certificate", kafka.Stop, kafka.Security{CAFile: a.file("ca.pem")}, kfake.TLS(a.server(t, true)))
	f("a foreign client's certificate", "client's certificate", kafka.Stop,
		kafka.Security{CAFile: a.file("ca.pem"), CertFile: other.file("client.pem"), KeyFile: other.file("client.key")}, kfake.TLS(a.server(t, true)))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		// kfake closes the connection where Kafka answers that the password is
		// wrong; TestBrokerRefusesThePassword has the answer.
		user := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(mechanism, "weir", password)}
		f(mechanism+", wrong password", "wrong user or password", kafka.Retry, kafka.Security{Mechanism: mechanism, User: "weir", Password: "hunter2"}, user...)
		f(mechanism+", unknown user", "wrong user or password", kafka.Retry, kafka.Security{Mechanism: mechanism, User: "nobody", Password: password}, user...)
		f(mechanism+", no SASL", "may ask for TLS or for SASL", kafka.Retry, kafka.Security{}, user...)
	}
}

// TestSecurityOnKafka speaks with the listeners of a real broker, which asks for
// TLS, for a client's certificate, for SASL, and for both.
func TestSecurityOnKafka(t *testing.T) {
	secure, addr := os.Getenv("WEIR_KAFKA_SECURE"), os.Getenv("WEIR_KAFKA")
	if secure == "" {
		t.Skip("no broker with TLS and SASL is named by WEIR_KAFKA_SECURE: make integration starts one")
	}
	host, first, err := net.SplitHostPort(addr)
	port, errP := strconv.Atoi(first)
	if err != nil || errP != nil {
		t.Fatal(addr, err, errP)
	}
	listener := func(n int) string { return net.JoinHostPort(host, strconv.Itoa(port+n)) }
	plain, withTLS, mutual, withSASL, both := listener(0), listener(2), listener(3), listener(4), listener(5)
	file := func(name string) string { return filepath.Join(secure, name) }
	other := newAuthority(t)
	other.sign(t, &x509.Certificate{}, "client")

	good := func(name, addr string, s kafka.Security) {
		t.Helper()
		if err := dialWith(t, addr, s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := func(name, addr, want string, class kafka.Class, s kafka.Security) {
		t.Helper()
		err := dialWith(t, addr, s)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want it to say %q", name, err, want)
		}
		if got := kafka.Classify(err); got != class {
			t.Errorf("%s: class %d, want %d: %v", name, got, class, err)
		}
	}
	tls := kafka.Security{CAFile: file("ca.pem")}
	own := kafka.Security{CAFile: file("ca.pem"), CertFile: file("client.pem"), KeyFile: file("client.key")}
	foreign := kafka.Security{CAFile: file("ca.pem"), CertFile: other.file("client.pem"), KeyFile: other.file("client.key")}
	good("nothing", plain, kafka.Security{})
	good("TLS", withTLS, tls)
	good("client's certificate", mutual, own)
	bad("unknown authority", withTLS, "give the file of the authority", kafka.Stop, kafka.Security{CAFile: other.file("ca.pem")})
	bad("no TLS to a broker with TLS", withTLS, "set TLS", kafka.Stop, kafka.Security{})
	bad("TLS to a broker without", plain, "does the broker speak TLS", kafka.Retry, kafka.Security{TLS: true})
	bad("no client's certificate", mutual, "client's certificate", kafka.Stop, tls)
	bad("a foreign client's certificate", mutual, "client's certificate", kafka.Stop, foreign)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		s := kafka.Security{Mechanism: mechanism, User: "weir", PasswordFile: file("password")}
		good(mechanism, withSASL, s)
		s.CAFile = file("ca.pem")
		good(mechanism+" over TLS", both, s)
		for _, at := range []string{withSASL, both} {
			s := kafka.Security{Mechanism: mechanism, User: "weir", Password: "hunter2"}
			if at == both {
				s.CAFile = file("ca.pem")
			}
			bad(mechanism+", wrong password", at, "check user and password", kafka.Stop, s)
			s.User = "nobody"
			bad(mechanism+", unknown user", at, "check user and password", kafka.Stop, s)
			s.Mechanism = ""
			s.User = ""
			bad(mechanism+", no SASL", at, "SASL", kafka.Retry, s)
		}
	}
}

func TestSecurityApplyFailure(t *testing.T) {
	a := newAuthority(t)
	write(t, a.file("empty"), nil)
	f := func(want string, s kafka.Security) {
		t.Helper()
		s.Password = password
		var o kafka.Options
		err := s.Apply(&o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), password) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	f("no such file", kafka.Security{CAFile: a.file("none")})
	f("no certificate in PEM", kafka.Security{CAFile: a.file("ca.key")})
	f("together or not at all", kafka.Security{CertFile: a.file("ca.pem")})
	f(a.file("empty"), kafka.Security{CertFile: a.file("empty"), KeyFile: a.file("empty")})
	f("no mechanism", kafka.Security{User: "weir"})
	f("no SASL mechanism is called", kafka.Security{User: "weir", Mechanism: "GSSAPI"})
	f("needs a user", kafka.Security{Mechanism: "PLAIN"})
	f("needs a user and a password", kafka.Security{Mechanism: "PLAIN", User: "weir", PasswordFile: a.file("empty")})
	f("no such file", kafka.Security{Mechanism: "PLAIN", User: "weir", PasswordFile: a.file("none")})
}

// TestAMemberWithTheWrongPasswordIsTold joins with a password that the broker
// refuses: the wait must end with the reason and not go on for ever.
func TestAMemberWithTheWrongPasswordIsTold(t *testing.T) {
	addr := secureCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "weir", password))
	o := kafka.Options{Brokers: []string{addr}}
	if err := (kafka.Security{Mechanism: "PLAIN", User: "weir", Password: "hunter2"}).Apply(&o); err != nil {
		t.Fatal(err)
	}
	c := kafka.New(o)
	defer c.Close()
	m, err := kafka.Join(t.Context(), c, "g", "t", kafka.GroupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err = m.Wait(ctx, 0); !errors.Is(err, kafka.ErrRefused) {
		t.Errorf("got %v, want %v", err, kafka.ErrRefused)
	}
}
