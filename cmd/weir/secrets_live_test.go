package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
)

// cardPlaces are where card numbers are planted, each with a number of its own.
var cardPlaces = []string{"field", "field with spaces", "field with dashes", "field as a number", "field of a wrong type", "field too long", "customer", "broken record",
	"text that is no JSON", "free text", "unknown field", "header", "key", "key of another card", "label", "broken label", "rate", "search", "search in a path", "note", "log-in", "audit", "query of the API"}

// cardSpec is that of payments, where the customer may be a card too.
func (w *secretsWorld) cardSpec() string {
	w.t.Helper()
	text := call(w.t, "spec", "show", "payments").succeeds(w.t).stdout
	if !strings.Contains(text, "field customer = $.customer\n") {
		w.t.Fatalf("the spec is\n%s", text)
	}
	return w.put("bank.spec", strings.Replace(text, "field customer = $.customer\n", "field customer = $.customer secret\n", 1))
}

// pays sends payments with card numbers in every place.
func (w *secretsWorld) pays() {
	w.t.Helper()
	now := time.Now().UTC()
	grouped := func(place, between string) string {
		c := w.cards[place]
		return strings.Join([]string{c[:4], c[4:8], c[8:12], c[12:]}, between)
	}
	payment := func(more string) string {
		return fmt.Sprintf(`{"id":"t%d","type":"authorisation","time":"%s","amount":"12.34","currency":"EUR","merchant":"M%d"%s}`, w.sent, now.Format(time.RFC3339), w.sent%5, more)
	}
	plain := func(place string) string {
		return payment(fmt.Sprintf(`,"customer":"C1","card":"%s"`, w.cards[place]))
	}
	var b kafka.BatchWriter
	send := func(key, value string, headers ...kafka.Header) {
		b.Append([]byte(key), []byte(value), now.UnixMilli(), headers)
		w.sent++
	}
	for range 40 {
		send("c", plain("field"))
	}
	send("c", payment(`,"customer":"C1","card":"`+grouped("field with spaces", " ")+`"`))
	send("c", payment(`,"customer":"C1","card":"`+grouped("field with dashes", "-")+`"`))
	send("c", payment(`,"customer":"C1","card":`+w.cards["field as a number"]))
	send("c", payment(`,"customer":"C1","card":["`+w.cards["field of a wrong type"]+`"]`))
	send("c", payment(`,"customer":"C1","card":"`+w.cards["field too long"]+"00000000"+`"`))
	send("c", payment(`,"customer":"`+w.cards["customer"]+`"`))
	send("c", `{"id":"t","card":"`+w.cards["broken record"]+`",`)
	send("c", "pay "+w.cards["text that is no JSON"]+" now")
	send("c", payment(`,"customer":"C2","note":"card `+w.cards["free text"]+`, as he said"`))
	send("c", payment(`,"customer":"C2","pan_`+w.cards["unknown field"]+`":"`+w.cards["unknown field"]+`"`))
	send("c", payment(`,"customer":"C2"`), kafka.Header{Key: []byte("pan"), Value: []byte(w.cards["header"])}, kafka.Header{Key: []byte(w.cards["header"]), Value: []byte("1")})
	send(grouped("key", "-"), plain("key"))
	send(w.cards["key of another card"], plain("field"))
	w.append(w.topics.Transactions, &b)
	var labels, rates kafka.BatchWriter
	labels.Append(nil, fmt.Appendf(nil, `{"tx_id":"t1","verdict":"fraud","source":"chargeback","known_at":"%s","card":"%s"}`, now.Format(time.RFC3339), w.cards["label"]), now.UnixMilli(), nil)
	labels.Append([]byte(w.cards["broken label"]), []byte(`{"tx_id":"t1","verdict":"`+w.cards["broken label"]+`"}`), now.UnixMilli(), nil)
	rates.Append([]byte(w.cards["rate"]), []byte(`{"currency":"`+w.cards["rate"]+`"}`), now.UnixMilli(), nil)
	w.append(w.topics.Labels, &labels)
	w.append(w.topics.Rates, &rates)
}

func (w *secretsWorld) append(topic string, b *kafka.BatchWriter) {
	w.t.Helper()
	batch, err := b.Finish(kafka.None)
	if err == nil {
		_, err = w.log.Produce(w.t.Context(), topic, 0, batch)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// certificate makes one of the desk for loopback, with its key in the vault.
func (w *secretsWorld) certificate() {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "desk"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put("desk tls key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	secret, _ := key.Bytes()
	w.search.Add("desk tls key", secret)
	w.put("desk certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// provider is an identity provider that refuses the desk and says what it was sent.
func (w *secretsWorld) provider() *httptest.Server {
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			body, _ := io.ReadAll(r.Body)
			rw.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(rw).Encode(map[string]string{"error": "invalid_client", "error_description": "not by " + r.Header.Get("Authorization") + " " + string(body)})
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}})
	}))
	w.t.Cleanup(s.Close)
	return s
}

// collector refuses the first traces, by an answer that says what it was sent, and takes
// those that come behind them; it counts what was sent with the secret.
func (w *secretsWorld) collector() *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if n := w.traced.Add(1); r.Header.Get("Authorization") != "Bearer "+w.secrets["collector token"] {
			w.t.Errorf("the collector is sent %q", r.Header)
		} else if n%3 != 0 {
			rw.Header().Set("X-Echo", r.Header.Get("Authorization"))
			rw.WriteHeader([]int{0, http.StatusUnauthorized, http.StatusServiceUnavailable}[n%3])
			_, _ = rw.Write([]byte("not by " + r.Header.Get("Authorization")))
		}
	}))
	w.t.Cleanup(s.Close)
	return s
}

// lives runs all roles, and has people and commands look at what they do.
func (w *secretsWorld) lives() {
	w.t.Helper()
	w.certificate()
	spec, models := w.cardSpec(), filepath.Join(w.out, "models.pem")
	w.champion(spec)
	desk := filepath.Join(w.data, "desk")
	for name, roles := range map[string]string{"analyst": "analyst", "owner": "supervisor,model-owner,auditor"} {
		w.run(nil, "user", "add", name, "--role", roles, "--data", desk, "--password-file", w.file(name+" password")).succeeds(w.t)
	}
	token := callWith(w.t, "", nil, "user", "token", "analyst", "--for", "test", "--role", "analyst", "--expires", "9d", "--data", desk).succeeds(w.t).stdout // which it is to show
	token, _, _ = strings.Cut(token, "\n")
	w.search.Add("API token", []byte(token))
	w.secrets["API token"] = token
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	profiles := free.Addr().String() // which no log names
	_ = free.Close()
	w.traces = []string{"--otlp-endpoint", w.collector().URL, "--otlp-sample", "1", "--otlp-headers-file", w.file("otlp headers")}
	score := w.role("score", append([]string{"score", "--spec", spec, "--trust", models, "--rollback-key", w.file("rollback key"), "--token-key-file", w.file("token key"),
		"--token-key-previous-file", w.file("token key before"), "--pprof", profiles, "--snapshot-every", "20", "--log", "json", "--json"}, w.group()...)...)
	record := w.role("record", append([]string{"record"}, w.history...)...)
	served := w.role("desk", append([]string{"desk", "--spec", spec, "--web", "127.0.0.1:0", "--tls-cert", w.file("desk certificate"), "--tls-key", w.file("desk tls key"),
		"--signing-key", w.file("desk key"), "--trust", models, "--webhooks-allow", "127.0.0.0/8", "--public-url", "https://desk.example", "--oidc-issuer", w.provider().URL,
		"--oidc-client-id", "weir", "--oidc-role", "a=analyst"}, w.history...)...)
	at := score.says(`"serves metrics","address":"([^"]+)"`)
	others := []string{record.says(`serves metrics" address=(\S+)`), served.says(`serves metrics" address=(\S+)`)}
	w.until("a bundle decides", func() bool {
		m, err := readSamples(w.body("score.metrics", "http://"+at+"/metrics"))
		return err == nil && m.set("weir_model_info", "bundle", "slot", "champion") != ""
	})
	w.pays()
	w.until("all is decided", func() bool { return w.decided("http://"+at+"/metrics") >= w.sent })
	w.until("all is recorded", func() bool { return w.recorded() })
	w.until("traces were sent", func() bool { return w.traced.Load() > 1 })
	w.desked("https://" + strings.TrimPrefix(served.says(`serves the desk" address=(\S+)`), "https://"))
	for _, one := range append(others, at) {
		for _, path := range []string{"/metrics", "/healthz", "/readyz", "/"} {
			w.body(one+path, "http://"+one+path)
		}
	}
	for _, path := range []string{"/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1"} {
		w.body("pprof"+path, "http://"+profiles+path)
	}
	w.commands(spec, models, at)
	score.end(syscall.SIGQUIT) // all its goroutines, with what they were called with
	record.end(syscall.SIGTERM)
	served.end(syscall.SIGTERM)
}

// until waits for something.
func (w *secretsWorld) until(what string, cond func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (w *secretsWorld) decided(url string) int64 {
	m, err := readSamples(w.body("score.metrics", url))
	if err != nil {
		w.t.Fatal(err)
	}
	return sum(m.by("weir_decisions_total", "outcome"))
}

func (w *secretsWorld) recorded() bool {
	d := callWith(w.t, "", w.environment(), append(append([]string{"verify", "--spec", w.file("bank.spec"), "--trust", filepath.Join(w.out, "models.pem"), "--token-key-file", w.file("token key"),
		"--data", filepath.Join(w.data, "score"), "--json"}, w.kafka...), w.history...)...)
	return d.code == exitOK
}

// A deskCaller is a browser or a program at the desk, whose answers are kept.
type deskCaller struct {
	w      *secretsWorld
	at     string
	client *http.Client
}

func (w *secretsWorld) caller(at string) *deskCaller {
	jar, _ := cookiejar.New(nil) // which never fails
	return &deskCaller{w, at, &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ask keeps an answer and returns it: where it leads, a line break, the page. A cookie and
// a webhook's secret are to be shown, this once, and are looked for from then on.
func (c *deskCaller) ask(method, path string, form url.Values, header ...string) string {
	w := c.w
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, c.at+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := c.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range a.Cookies() {
		if len(c.Value) > 16 {
			w.search.Add("cookie", []byte(c.Value))
		}
	}
	a.Header.Del("Set-Cookie")
	text := fmt.Appendf(nil, "%s %v\n%s", a.Status, a.Header, body)
	if secret := regexp.MustCompile(`whsec_[\w&#;+/=]{20,}`).Find(body); path == "/webhooks" && method == http.MethodPost && secret != nil {
		w.search.Add("webhook secret", []byte(html.UnescapeString(string(secret[len("whsec_"):]))))
		text = nil
	}
	w.pages++
	w.keep(fmt.Sprintf("page%03d", w.pages), text)
	return a.Header.Get("Location") + "\n" + string(body)
}

// desked does at the desk what people and programs do there.
func (w *secretsWorld) desked(at string) {
	w.t.Helper()
	nobody := w.caller(at)
	nobody.ask("POST", "/login", url.Values{"name": {w.cards["log-in"]}, "password": {w.secrets["flag"]}})
	nobody.ask("POST", "/login", url.Values{"name": {"analyst"}, "password": {w.secrets["owner password"]}})
	to, _, _ := strings.Cut(nobody.ask("GET", "/login/oidc", nil), "\n")
	if u, err := url.Parse(to); err != nil || u.Query().Get("state") == "" {
		w.t.Errorf("the provider's log-in leads to %q", to)
	} else {
		nobody.ask("GET", "/login/oidc/callback?"+url.Values{"code": {"a-code"}, "state": {u.Query().Get("state")}}.Encode(), nil)
	}
	for _, who := range []string{"analyst", "owner"} {
		c := w.caller(at)
		c.ask("POST", "/login", url.Values{"name": {who}, "password": {w.secrets[who+" password"]}})
		c.works(who)
		c.opens()
	}
	bearer := []string{"Authorization", "Bearer " + w.secrets["API token"]}
	for _, path := range []string{"/api/v1/alerts", "/api/v1/cases", "/api/v1/figures", "/api/v1/alerts?" + url.Values{"text": {w.cards["query of the API"]}}.Encode()} {
		nobody.ask("GET", path, nil, bearer...)
		nobody.ask("GET", path, nil, "Authorization", "Bearer "+w.secrets["flag"])
	}
}

// works searches, notes, and sets up webhooks, with card numbers and secrets where they do
// not belong.
func (c *deskCaller) works(who string) {
	w := c.w
	w.t.Helper()
	var queue string
	w.until("alerts are there", func() bool {
		queue = c.ask("GET", "/queue", nil)
		return strings.Contains(queue, "/alerts/")
	})
	c.ask("POST", "/queue", url.Values{"text": {w.cards["search"]}})
	c.ask("GET", "/queue?"+url.Values{"text": {w.cards["search in a path"]}}.Encode(), nil)
	c.ask("GET", "/alerts/"+w.cards["search in a path"], nil)
	id := regexp.MustCompile(`/alerts/([\w.-]+)`).FindStringSubmatch(queue)[1]
	note := url.Values{"kind": {"noted"}, "previous": {""}, "note": {"he has " + w.cards["note"] + " and says so"}}
	if m := regexp.MustCompile(`name="previous" value="([^"]*)"`).FindStringSubmatch(c.ask("GET", "/alerts/"+id, nil)); m != nil {
		note.Set("previous", m[1])
	}
	if told := c.ask("POST", "/alerts/"+id+"/act", note); strings.Contains(told, "stale") {
		w.t.Errorf("the note is not taken: %s", told)
	}
	if who != "owner" {
		return
	}
	c.ask("POST", "/audit", url.Values{"text": {w.cards["audit"]}})
	c.ask("GET", "/audit.csv?"+url.Values{"text": {w.cards["audit"]}}.Encode(), nil)
	if told := c.ask("POST", "/webhooks", url.Values{"url": {"http://hook:" + w.secrets["flag"] + "@127.0.0.1:1/in"}, "event": {"alert.raised"}}); strings.Contains(told, "whsec_") {
		w.t.Error("a webhook with a password in its address is taken")
	}
	if told := c.ask("POST", "/webhooks", url.Values{"url": {"http://127.0.0.1:1/in"}, "event": {"alert.raised"}}); !strings.Contains(told, "whsec_") {
		w.t.Errorf("no webhook: %s", told)
	}
}

// opens opens every page that leads on.
func (c *deskCaller) opens() {
	seen := map[string]bool{"/logout": true}
	for todo := []string{"/", "/queue", "/audit.jsonl", "/audit.csv", "/webhooks", "/models"}; len(todo) > 0 && len(seen) < 60; todo = todo[1:] {
		if seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		for _, m := range regexp.MustCompile(`href="(/[^"#]*)`).FindAllStringSubmatch(c.ask("GET", todo[0], nil), -1) {
			todo = append(todo, strings.ReplaceAll(m[1], "&amp;", "&"))
		}
	}
}

// commands are those that look at what there is.
func (w *secretsWorld) commands(spec, models, at string) {
	w.t.Helper()
	env := w.environment()
	with := func(args ...string) []string { return append(args, w.kafka...) }
	keys := []string{"--trust", models, "--token-key-file", w.file("token key"), "--token-key-previous-file", w.file("token key before")}
	for _, topic := range []string{"decisions", "alerts", "labels", "dispositions", "models", "rates", "audit", "transactions", "transactions.dlq"} {
		w.run(env, with("tail", topic)...)
	}
	verify := append(append([]string{"verify", "--spec", spec, "--data", filepath.Join(w.data, "score")}, keys...), w.history...)
	w.run(env, with(verify...)...).succeeds(w.t)
	w.run(env, append(with("status", "--at", at), w.group()...)...).succeeds(w.t)
	w.run(env, append(with("status", "--at", at, "--json"), w.group()...)...).succeeds(w.t)
	w.run(env, "health", "--listen", at).succeeds(w.t)
	w.run(env, with("model", "ls", "--trust", models)...).succeeds(w.t)
	w.run(env, with("model", "verify", "champion", "--trust", models)...)
	w.run(env, append(with("model", "watch", "--trust", models), w.history...)...)
	w.run(env, append(append(with("check", "--spec", spec, "--data", filepath.Join(w.data, "score")), keys...), w.history...)...)
	w.run(env, with(append([]string{"train", "--spec", spec, "--key", w.file("champion key"), "--out", filepath.Join(w.out, "model.weir"), "--report", filepath.Join(w.out, "report.html")}, w.history...)...)...)
	w.run(env, "user", "ls", "--data", filepath.Join(w.data, "desk")).succeeds(w.t)
	w.run(env, "config", "default")
	w.run(env, "metrics")
	sealed := filepath.Join(w.out, "weir.backup")
	w.run(env, with(append([]string{"backup", "--to", sealed, "--passphrase-file", w.file("passphrase"), "--data", filepath.Join(w.data, "desk"), "--spec", spec,
		"--key", w.file("champion key"), "--signing-key", w.file("desk key"), "--rollback-key", w.file("rollback key")}, keys...)...)...).succeeds(w.t)
	w.run(env, "restore", "--from", sealed, "--passphrase-file", w.file("passphrase"), "--check")
	w.run(env, "restore", "--from", sealed, "--passphrase-file", w.file("flag"), "--check")
}
