package wireformat

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestCheck has registries answer well, badly and not at all: an error says what
// the registry said, in one line, and never the page of a proxy.
func TestCheck(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name   string
		url    string // of no other registry than the one that answers
		status int
		body   string
		want   string
		denied bool
	}{
		{name: "well", status: 200, body: `["JSON","PROTOBUF","AVRO"]`},
		{name: "not of the format", status: 200, body: `["JSON","PROTOBUF"]`, want: "no schemas of avro"},
		{name: "no JSON", status: 200, body: "<html>", want: "unable to decode"},
		{name: "who are you", status: 401, body: `{"error_code":401,"message":"Unauthorized"}`, want: "status 401: it does not let this client in", denied: true},
		{name: "not you", status: 403, body: "<html>\nforbidden", want: "status 403: it does not let this client in", denied: true},
		{name: "an error", status: 500, body: `{"error_code":50001,"message":"no store"}`, want: "status 500: no store"},
		{name: "a proxy", status: 502, body: "<html>\nbad gateway", want: "status 502: Bad Gateway"},
		{name: "no words", status: 503, want: "status 503: Service Unavailable"},
		{name: "nobody", url: gone.URL, want: "refused"},
	} {
		url := c.url
		if url == "" {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer s.Close()
			url = s.URL
		}
		s, err := NewSchemas(Options{URLs: []string{url}, User: "weir", Password: "hunter2", Format: Avro})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Check(t.Context())
		switch {
		case c.want == "" && err != nil, c.want != "" && err == nil:
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err == nil:
		case !errors.Is(err, ErrRegistry) || errors.Is(err, ErrDenied) != c.denied || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "html") || strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error shows too much: %v", c.name, err)
		}
	}
}

// TestCopies has the copies of a registry disagree. One that knows a schema is
// right; where none does, an answer counts more than none.
func TestCopies(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"knows": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/subjects/other/versions/1" {
				_, _ = w.Write([]byte(`{"subject":"other","id":2,"version":1,"schema":"{\"type\":\"fixed\",\"name\":\"other\",\"size\":2}"}`))
				return
			}
			_, _ = w.Write([]byte(`{"schema":"\"other\"","references":[{"name":"other","subject":"other","version":1}]}`))
		},
		"lacks": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error_code":40403,"message":"Schema 1 not found"}`))
		},
		"half": func(w http.ResponseWriter, r *http.Request) { // it lacks what the schema refers to
			if r.URL.Path == "/schemas/ids/1" {
				_, _ = w.Write([]byte(`{"schema":"\"other\"","references":[{"name":"other","subject":"other","version":1}]}`))
				return
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error_code":40401,"message":"Subject 'other' not found"}`))
		},
		"away":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"wrong": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
	}
	urls := make(map[string]string)
	for name, answer := range answers {
		s := httptest.NewServer(answer)
		defer s.Close()
		urls[name] = s.URL
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	urls["gone"] = gone.URL
	for list, want := range map[string]string{
		"knows": "known", "lacks": "unknown", "half": "unknown", "away": "failed", "wrong": "failed", "gone": "failed",
		"away knows": "known", "gone knows": "known", "lacks knows": "known", "half knows": "known", "wrong knows": "known", "knows gone": "known",
		"lacks away": "unknown", "away lacks": "unknown", "gone lacks": "unknown", "lacks gone": "unknown", "away gone": "failed", "away wrong gone": "failed",
	} {
		o := Options{Format: Avro, Now: func() time.Time { return time.Unix(1e9, 0) }, Log: slog.New(slog.DiscardHandler)}
		for name := range strings.FieldsSeq(list) {
			o.URLs = append(o.URLs, urls[name])
		}
		s, err := NewSchemas(o)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := s.get(t.Context(), 1)
		got := "known"
		switch {
		case errors.Is(err, ErrRegistry):
			got = "failed"
		case schema == nil:
			got = "unknown"
		case schema.avro == nil:
			got = "unusable"
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", list, got, want, err)
		}
	}
}
