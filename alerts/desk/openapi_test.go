package desk

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// document is the document as programs get it.
var document = sync.OnceValue(func() map[string]any {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI()))
	if err != nil {
		panic(err)
	}
	return doc.(map[string]any)
})

// at is what stands below a value of the document by keys; nil where nothing does.
func at(v any, keys ...string) any {
	for _, key := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		if to, ok := m["$ref"].(string); ok {
			m = at(document(), strings.Split(strings.TrimPrefix(to, "#/"), "/")...).(map[string]any)
		}
		v = m[key]
	}
	if m, ok := v.(map[string]any); ok && m["$ref"] != nil && len(m) == 1 {
		return at(document(), strings.Split(strings.TrimPrefix(m["$ref"].(string), "#/"), "/")...)
	}
	return v
}

// fits validates a value against a schema of the document.
func fits(t *testing.T, schema, value any) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	// The schema refers to the document, so it stands in a copy of it.
	whole := maps.Clone(document())
	whole["x-this"] = schema
	err := c.AddResource("urn:openapi", whole)
	var s *jsonschema.Schema
	if err == nil {
		s, err = c.Compile("urn:openapi#/x-this")
	}
	if err == nil {
		err = s.Validate(value)
	}
	if err != nil {
		t.Errorf("%v\nof %v", err, value)
	}
}

// described finds the operation of a request, and validates its answer.
func described(t *testing.T, method, pattern string, a answer) {
	t.Helper()
	operation := at(document(), "paths", pattern, strings.ToLower(method))
	if operation == nil {
		t.Fatalf("the document has no %s %s", method, pattern)
	}
	answers := at(operation, "responses", strconv.Itoa(a.StatusCode))
	if answers == nil {
		t.Errorf("%s %s answers %d, of which the document says nothing: %s", method, pattern, a.StatusCode, a.body)
		return
	}
	kind, content := a.Header.Get("Content-Type"), at(answers, "content")
	if content == nil && a.body == "" {
		return
	}
	schema := at(content, kind, "schema")
	if schema == nil {
		t.Errorf("%s %s answers %d with %q, of which the document says nothing", method, pattern, a.StatusCode, kind)
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
	if err != nil {
		t.Errorf("%v: %s", err, a.body)
		return
	}
	fits(t, schema, value)
}

// TestTheDocumentIsTheTable: each route is an operation and each operation a route,
// with the same roles.
func TestTheDocumentIsTheTable(t *testing.T) {
	var probe Server
	described, ids := make(map[string][]string), make(map[any]bool)
	for path, item := range document()["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			roles := []string{}
			for _, r := range at(operation, "x-roles").([]any) {
				roles = append(roles, r.(string))
			}
			described[strings.ToUpper(method)+" "+path] = roles
			id := at(operation, "operationId")
			if ids[id] || id == nil || at(operation, "summary") == nil {
				t.Errorf("%s %s: the operation has no id of its own, or no summary", method, path)
			}
			ids[id] = true
		}
	}
	for _, rt := range probe.routes() {
		if !strings.Contains(rt.pattern, " /api/") {
			continue
		}
		roles, ok := described[rt.pattern]
		if want := (rt.roles & everyone).Names(); !ok || !slices.Equal(roles, want) {
			t.Errorf("%s: the document says %q (%v), the table %q", rt.pattern, roles, ok, want)
		}
		delete(described, rt.pattern)
	}
	for pattern := range described {
		t.Errorf("%s is described, and there is no such route", pattern)
	}
}

// TestExamplesFit validates each example of the document against its schema.
func TestExamplesFit(t *testing.T) {
	found := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["example"] != nil && v["schema"] != nil {
				found++
				fits(t, v["schema"], v["example"])
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(document())
	if found < 20 {
		t.Errorf("%d examples", found)
	}
}

// TestTheDocumentIsTidy: in the form in which it is written, and served to anybody.
func TestTheDocumentIsTidy(t *testing.T) {
	var again bytes.Buffer
	if err := json.Indent(&again, openAPIFile, "", "  "); err != nil || !bytes.Equal(again.Bytes(), openAPIFile) {
		t.Errorf("no JSON, or not indented by two: %v", err)
	}
	w := newWorld(t)
	a := w.browser().get("/api/v1/openapi.json").is(t, http.StatusOK, `"openapi": "3.1.0"`, "the bundle's rank key")
	if a.body != string(openAPI()) || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/vnd.oai.openapi+json") {
		t.Errorf("served is %v", a.Header)
	}
}

// TestTheDocumentListsWhatThereIs: each list of names in it is the code's.
func TestTheDocumentListsWhatThereIs(t *testing.T) {
	var kinds, statuses, filters, reasons, events []string
	for k := range schemas.NumDispositionKinds {
		kinds = append(kinds, k.String())
		h := alerts.Happening{Action: &schemas.Disposition{Kind: k}}
		if name := eventOf(&h); !slices.ContainsFunc(hookEvents, func(e hookEvent) bool { return e.Name == name }) {
			t.Errorf("%s is no event that a webhook may be sent", name)
		}
	}
	for s := range alerts.InSecondLook + 1 {
		statuses = append(statuses, s.String())
	}
	for _, c := range queueStates[1:] {
		filters = append(filters, c.value)
	}
	reasons = append(reasons, "")
	for _, c := range reasonCodes {
		reasons = append(reasons, c.Code)
	}
	for _, e := range hookEvents {
		events = append(events, e.Name)
	}
	of := func(keys ...string) any { return at(document(), append([]string{"components"}, keys...)...) }
	for what, c := range map[string]struct {
		said any
		want []string
	}{
		"kinds": {of("schemas", "Action", "properties", "kind", "enum"), kinds}, "new kinds": {of("schemas", "NewAction", "properties", "kind", "enum"), kinds[:schemas.Undone+1]},
		"statuses": {of("schemas", "State", "properties", "status", "enum"), statuses}, "filters": {of("parameters", "status", "schema", "enum"), filters},
		"reasons": {of("schemas", "NewAction", "properties", "reason", "enum"), reasons}, "events": {of("schemas", "Message", "properties", "type", "enum"), events},
	} {
		var said []string
		for _, v := range c.said.([]any) {
			said = append(said, v.(string))
		}
		if !slices.Equal(said, c.want) {
			t.Errorf("%s: the document lists %q, there are %q", what, said, c.want)
		}
	}
}
