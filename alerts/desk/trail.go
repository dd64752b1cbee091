package desk

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// trailRoutes are of the audit log. It is for auditors alone: it says of supervisors too
// what they saw and did, and what they need of their team is on pages of their own.
func (s *Server) trailRoutes() []route {
	return []route{
		{pattern: "GET /audit", roles: Roles(Auditor), handle: s.trail, of: address, nav: "Audit"},
		{pattern: "POST /audit", roles: Roles(Auditor), handle: s.searchTrail},
		{pattern: "GET /audit.csv", roles: Roles(Auditor), handle: s.trailCSV, of: address, act: schemas.AuditExported},
		{pattern: "GET /audit.jsonl", roles: Roles(Auditor), handle: s.trailJSON, of: address, act: schemas.AuditExported},
	}
}

// trailRows is how many entries a page shows.
const trailRows = 100

// trailPage is what trail.html shows.
type trailPage struct {
	Query             struct{ Who, Of, Address, From, To string }
	Acts              []trailGroup
	Filtered          bool
	Behind            string // why the newest entries may be missing
	Entries           []trailRow
	Looked            string // back to when, where that ended the page
	After, CSV, JSONL string // addresses
}

// trailGroup are acts of one kind that the filter offers.
type trailGroup struct {
	Name string
	Acts []choice
}

type trailRow struct {
	Time, Clock, Who, WhoPath, What, Class, Of, OfPath, Address, AddressPath, Detail string
}

// trailActs are what pages call what people did, in the order of the filter.
var trailActs = []struct {
	group string
	acts  []choice
}{
	{"At the desk", []choice{{Value: "logged_in", Name: "logged in"}, {Value: "login_failed", Name: "was not let in"}, {Value: "logged_out", Name: "logged out"},
		{Value: "viewed", Name: "looked at"}, {Value: "exported", Name: "exported"}, {Value: "approved", Name: "approved"}, {Value: "changed", Name: "changed"},
		{Value: "denied", Name: "was refused"}}},
	{"With alerts", []choice{{Value: "claimed", Name: "took"}, {Value: "released", Name: "put back"}, {Value: "noted", Name: "noted"}, {Value: "escalated", Name: "escalated"},
		{Value: "snoozed", Name: "put off"}, {Value: "closed_fraud", Name: "said fraud"}, {Value: "closed_genuine", Name: "said genuine"}, {Value: "undone", Name: "took back"}}},
}

// actWords is what pages call an act.
func actWords(what string) string {
	for _, g := range trailActs {
		for _, a := range g.acts {
			if a.Value == what {
				return a.Name
			}
		}
	}
	return what
}

// trailKeys are the parts of a filter, as addresses have them.
var trailKeys = []string{"who", "what", "of", "address", "from", "to"}

// timeForms are how people write a time, in UTC.
var timeForms = []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04", "2006-01-02 15:04:05", time.DateOnly}

// parseTimeOf reads a time that somebody wrote; 0 where there is none.
func parseTimeOf(text string) (int64, error) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, nil
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, problemf(http.StatusBadRequest, "The time %.40q was not understood. Write it as 2026-05-01 or 2026-05-01 14:30, in UTC.", text)
}

// trailFilter reads a filter from a query. One that cannot be read is refused: an
// export that holds more than was asked for is no answer.
func trailFilter(q url.Values) (f alerts.TrailFilter, err error) {
	f = alerts.TrailFilter{Who: strings.TrimSpace(q.Get("who")), What: q.Get("what"), Of: q.Get("of"), Address: strings.TrimSpace(q.Get("address"))}
	if f.From, err = parseTimeOf(q.Get("from")); err != nil {
		return f, err
	}
	f.To, err = parseTimeOf(q.Get("to"))
	return f, err
}

// searchTrail leads to the audit log behind a filter, which comes in a form's body, so
// that a card number that somebody pastes gets into no address.
func (s *Server) searchTrail(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problemf(http.StatusBadRequest, "The form was not understood. Load the page anew and try again.")
	}
	q := url.Values{}
	for _, key := range trailKeys {
		v := r.PostForm.Get(key)
		if hidden := schemas.HideCards([]byte(v)); string(hidden) != v {
			return errCard
		}
		if v != "" {
			q.Set(key, v)
		}
	}
	http.Redirect(w, r, trailPath("/audit", q), http.StatusSeeOther)
	return nil
}

func trailPath(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// trail shows who saw and did what, the newest first.
func (s *Server) trail(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := trailFilter(q)
	if err != nil {
		return err
	}
	page, err := s.options.Trail.Page(r.Context(), f, alerts.Cursor(q.Get("after")), trailRows)
	if errors.Is(err, alerts.ErrCursor) {
		return problemf(http.StatusBadRequest, "The address of this page was not understood. Open the audit log from its beginning.")
	}
	if err != nil {
		return err
	}
	now := s.options.Now().UnixMilli()
	p := trailPage{Filtered: f != alerts.TrailFilter{}}
	p.Query.Who, p.Query.Of, p.Query.Address, p.Query.From, p.Query.To = q.Get("who"), q.Get("of"), q.Get("address"), q.Get("from"), q.Get("to")
	for _, g := range trailActs {
		group := trailGroup{Name: g.group}
		for _, a := range g.acts {
			a.Here = a.Value == f.What
			group.Acts = append(group.Acts, a)
		}
		p.Acts = append(p.Acts, group)
	}
	if ok, why := s.options.Trail.Ready(); !ok {
		p.Behind = why
	}
	for _, e := range page.Entries {
		p.Entries = append(p.Entries, trailRowOf(&e, now))
	}
	if page.Looked > 0 {
		p.Looked = secondOf(page.Looked, now)
	}
	if page.After != "" {
		q.Set("after", string(page.After))
		p.After = trailPath("/audit", q)
	}
	q.Del("after")
	p.CSV, p.JSONL = trailPath("/audit.csv", q), trailPath("/audit.jsonl", q)
	return s.page(w, r, http.StatusOK, "trail", p)
}

// secondOf is a time to the second, with its date where that is another than now's.
func secondOf(ms, now int64) string {
	t, n := time.UnixMilli(ms).UTC(), time.UnixMilli(now).UTC()
	switch {
	case t.Year() == n.Year() && t.YearDay() == n.YearDay():
		return t.Format("15:04:05")
	case t.Year() == n.Year():
		return t.Format("2 Jan 15:04:05")
	}
	return t.Format("2 Jan 2006 15:04:05")
}

func trailRowOf(e *alerts.TrailEntry, now int64) trailRow {
	row := trailRow{Time: fullTime(e.At), Clock: secondOf(e.At, now), Who: e.Who, WhoPath: trailPath("/audit", url.Values{"who": {e.Who}}),
		What: actWords(e.What), Class: e.What, Of: e.Of, Address: e.Address, Detail: e.Detail}
	if e.Who == schemas.AuditNobody {
		row.Who = "no account"
	}
	if e.Address != "" {
		row.AddressPath = trailPath("/audit", url.Values{"address": {e.Address}})
	}
	_, onAlert := schemas.ParseDispositionKind(e.What)
	switch {
	case onAlert:
		row.Detail = reasonWords(e.Detail)
		row.Of, row.OfPath = "alert "+e.Of, "/alerts/"+url.PathEscape(e.Of)
	case strings.HasPrefix(e.Of, "/alerts/") && localPath(e.Of) == e.Of:
		row.OfPath = e.Of
	}
	return row
}

// reasonWords is the detail of an action with words for its reason's code.
func reasonWords(detail string) string {
	code, note, _ := strings.Cut(detail, ": ")
	for _, c := range reasonCodes {
		if c.Code == code {
			return strings.TrimSuffix(c.Words+": "+note, ": ")
		}
	}
	return detail
}

// exportChunk is how many entries of an export are in memory at once.
const exportChunk = 1000

// export writes the entries behind a request's filter, chunk by chunk. The guard has
// audited it before the first byte.
func (s *Server) export(w http.ResponseWriter, r *http.Request, kind, ext string, write func(*alerts.TrailEntry) error) error {
	f, err := trailFilter(r.URL.Query())
	if err != nil {
		return err
	}
	name := "audit-" + s.options.Now().UTC().Format("20060102T150405Z") + "." + ext
	c := http.NewResponseController(w)
	for after := alerts.Cursor(""); ; {
		p, err := s.options.Trail.Page(r.Context(), f, after, exportChunk)
		if err != nil {
			return err
		}
		if after == "" {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		}
		// A download outlives the deadline of a page, one chunk of it does not.
		_ = c.SetWriteDeadline(time.Now().Add(writeWithin)) // not every writer has one
		for i := range p.Entries {
			if err := write(&p.Entries[i]); err != nil {
				return err
			}
		}
		if after = p.After; after == "" {
			return nil
		}
	}
}

// exportTime is a time as exports have it.
func exportTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// trailCSV exports as RFC 4180 has it.
func (s *Server) trailCSV(w http.ResponseWriter, r *http.Request) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	header := []string{"at", "who", "what", "of", "address", "detail", "id"}
	begin := func() error {
		if header == nil {
			return nil
		}
		line := header
		header = nil
		return out.Write(line)
	}
	err := s.export(w, r, "text/csv; charset=utf-8; header=present", "csv", func(e *alerts.TrailEntry) error {
		line := []string{exportTime(e.At), e.Who, e.What, e.Of, e.Address, e.Detail, e.ID}
		for i := range line {
			line[i] = plainCell(line[i])
		}
		return cmp.Or(begin(), out.Write(line))
	})
	if err = cmp.Or(err, begin()); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// plainCell returns a cell that a spreadsheet shows and does not reckon: one that could
// be a formula has an apostrophe before it.
func plainCell(text string) string {
	if text != "" && strings.IndexByte("=+-@\t\r\n", text[0]) >= 0 {
		return "'" + text
	}
	return text
}

// trailLine is a line of the export as JSON: an audit entry as the topic has it, and
// actions on alerts in the same form.
type trailLine struct {
	ID      string `json:"id"`
	At      string `json:"at"`
	Who     string `json:"who"`
	What    string `json:"what"`
	Of      string `json:"of,omitempty"`
	Address string `json:"address,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// trailJSON exports a line of JSON each entry.
func (s *Server) trailJSON(w http.ResponseWriter, r *http.Request) error {
	out := json.NewEncoder(w)
	return s.export(w, r, "application/jsonl", "jsonl", func(e *alerts.TrailEntry) error {
		return out.Encode(trailLine{e.ID, exportTime(e.At), e.Who, e.What, e.Of, e.Address, e.Detail})
	})
}
