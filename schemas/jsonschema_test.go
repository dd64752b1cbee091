package schemas_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
)

// compiled returns the published schema of a name, which must be one of its
// draft.
func compiled(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, ok := schemas.JSONSchema(name)
	if !ok {
		t.Fatalf("no schema of %s", name)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, record []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(record))
	if err != nil {
		t.Fatalf("%v: %s", err, record)
	}
	return s.Validate(doc)
}

// holds holds a record that our own code made to its schema.
func holds(t *testing.T, s *jsonschema.Schema, record []byte) {
	t.Helper()
	if err := validate(t, s, record); err != nil {
		t.Fatalf("%v: %s", err, record)
	}
}

func TestOwnRecordsAreAsPublished(t *testing.T) {
	label, alert, disposition, audit := compiled(t, "label"), compiled(t, "alert"), compiled(t, "disposition"), compiled(t, "audit")
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := schemas.Label{TxID: []byte{'t', byte(r.Uint32())}, Verdict: schemas.LabelVerdict(r.IntN(3)), Source: schemas.LabelSource(r.IntN(5)),
			KnownAt: r.Int64N(4e12), Version: 1 + r.Uint32N(schemas.LabelVersionMax), FraudType: []byte("stolen"), Selected: []byte("alert"), SelectedProb: r.Float32()}
		if r.IntN(2) == 0 {
			l.Selected, l.Time, l.DispositionID = []byte("none"), r.Int64N(4e12), []byte("a1")
			for i := range l.Entity {
				l.Entity[i] = []byte("e")
			}
		}
		holds(t, label, schemas.AppendLabelJSON(nil, &l))
		d := schemas.RandomDecision(r)
		d.Tx.Time = r.Int64N(4e12) // later years have no date of four digits
		d.Offset = r.Int64N(1 << 40)
		holds(t, alert, schemas.AppendAlertJSON(nil, &d, r.Int32N(3), r.Int64N(1<<40), nil, false))
		holds(t, alert, schemas.AppendAlertJSON(nil, &d, 0, 7, []schemas.AlertReason{
			{Group: []byte("a \"b\""), Logit: 1.5, Words: [][]byte{[]byte("x"), []byte("y")}}, {Group: []byte("c"), Logit: -2}}, true))
		p := schemas.RandomDisposition(r)
		holds(t, disposition, schemas.AppendDispositionJSON(nil, &p))
		a := schemas.RandomAudit(r)
		holds(t, audit, schemas.AppendAuditJSON(nil, &a))
	}
}

// TestSimulatorsRecordsAreAsPublished lets the simulated bank's labels and
// rates pass.
func TestSimulatorsRecordsAreAsPublished(t *testing.T) {
	label, rate := compiled(t, "label"), compiled(t, "rate")
	cfg := simulate.DefaultConfig()
	cfg.Customers, cfg.Merchants, cfg.Terminals, cfg.Devices, cfg.Days = 300, 200, 300, 320, 30
	for i := range cfg.Currencies {
		holds(t, rate, cfg.Currencies[i].AppendRate(nil))
	}
	var labels bytes.Buffer
	if _, err := simulate.Write(simulate.Files{Labels: &labels}, cfg, nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(labels.Bytes()) {
		holds(t, label, line)
		n++
	}
	if n == 0 {
		t.Fatal("the bank wrote no label")
	}
	t.Logf("%d labels", n)
}

func TestWrongRecordsAreRefused(t *testing.T) {
	f := func(name, record string, sound bool) {
		t.Helper()
		if err := validate(t, compiled(t, name), []byte(record)); (err == nil) != sound {
			t.Errorf("%s %s: got %v", name, record, err)
		}
	}
	f("label", `{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z","more":1}`, true)
	f("label", `{"tx_id":"a","verdict":"fraud","source":"analyst"}`, false)
	f("label", `{"tx_id":5,"verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z"}`, false)
	f("label", `{"tx_id":"a","verdict":"maybe","source":"analyst","known_at":"2026-01-01T00:00:00Z"}`, false)
	f("label", `{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"yesterday"}`, false)
	f("label", `{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z","version":1024}`, false)
	for more, sound := range map[string]bool{
		`"selected":"exploration","selected_probability":0.01`: true, `"selected":""`: true, `"selected":"none"`: true, `"selected":"chance"`: false,
		`"time":"2026-01-01T00:00:00Z"`: true, `"time":"noon"`: false, `"time":5`: false, `"card":"k1.x","ip":""`: true, `"card":5`: false, `"device":null`: false,
	} {
		record := `{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z",` + more + `}`
		f("label", record, sound)
		var l schemas.Label
		if err := schemas.ParseLabel([]byte(record), &l); (err == nil) != sound {
			t.Errorf("%s: the parser says %v", record, err)
		}
	}
	f("rate", `{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"0.9132"}`, true)
	f("rate", `{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":0.9132}`, true)
	f("rate", `{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"-1"}`, false)
	f("rate", `{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":0}`, false)
	f("rate", `{"currency":"dollars","since":"2026-01-01T00:00:00Z","rate":"1"}`, false)
	hash := `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`
	f("slot", `{"bundle":`+hash+`,"by":"me","reason":"","signature":`+hash[:65]+hash[1:]+`}`, true)
	f("slot", `{"bundle":"abc","by":"me","reason":"","signature":`+hash[:65]+hash[1:]+`}`, false)
	f("slot", `{"bundle":`+hash+`,"by":"me","reason":""}`, false)
	f("alert", `{"id":"0-7"}`, false)
	for _, record := range wrongDispositions {
		// The schema is no stricter and no laxer than the parser on these.
		f("disposition", record, false)
		var d schemas.Disposition
		if schemas.ParseDisposition([]byte(record), &d) == nil {
			t.Errorf("%s is parsed", record)
		}
	}
	for _, record := range wrongAudits {
		f("audit", record, false)
		var a schemas.AuditEntry
		if schemas.ParseAudit([]byte(record), &a) == nil {
			t.Errorf("%s is parsed", record)
		}
	}
}

var wrongAudits = []string{
	`{}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann"}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","what":"viewed"}`,
	`{"id":"1","who":"ann","what":"viewed"}`,
	`{"at":"2026-01-01T00:00:00Z","who":"ann","what":"viewed"}`,
	`{"id":"","at":"2026-01-01T00:00:00Z","who":"ann","what":"viewed"}`,
	`{"id":"1","at":"noon","who":"ann","what":"viewed"}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"","what":"viewed"}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann","what":"stared"}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann","what":3}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann","what":"viewed","of":null}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann","what":"viewed","detail":{}}`,
	`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann","what":"viewed","of":"` + strings.Repeat("o", schemas.AuditTextBytesMax+1) + `"}`,
}

var wrongDispositions = []string{
	`{}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann"}`,
	`{"id":"","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"2026-01-01T00:00:00Z"}`,
	`{"id":1,"alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"2026-01-01T00:00:00Z"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"closed","by":"ann","at":"2026-01-01T00:00:00Z"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"noon"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":5}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"2026-01-01T00:00:00Z","note":null}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"2026-01-01T00:00:00Z","until":"2026-01-01T00:00:00Z"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"snoozed","by":"ann","at":"2026-01-01T00:00:00Z"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"undone","by":"ann","at":"2026-01-01T00:00:00Z"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"undone","by":"ann","at":"2026-01-01T00:00:00Z","previous":""}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"2026-01-01T00:00:00Z","other":{}}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"assigned","by":"sue","at":"2026-01-01T00:00:00Z"}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"assigned","by":"sue","at":"2026-01-01T00:00:00Z","to":""}`,
	`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"sue","at":"2026-01-01T00:00:00Z","to":"ann"}`,
}

// TestSchemasAreTidy keeps the files in the form in which they are written.
func TestSchemasAreTidy(t *testing.T) {
	for _, name := range []string{"alert", "audit", "disposition", "label", "rate", "slot"} {
		text, ok := schemas.JSONSchema(name)
		var again bytes.Buffer
		if !ok || json.Indent(&again, text, "", "  ") != nil || !bytes.Equal(again.Bytes(), text) {
			t.Errorf("%s.schema.json is missing, no JSON or not indented by two", name)
		}
	}
	if _, ok := schemas.JSONSchema("nothing"); ok {
		t.Error("there is a schema of nothing")
	}
}
