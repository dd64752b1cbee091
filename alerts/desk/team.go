package desk

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// The bounds of what is shown of a team, so that the page of one of two hundred is as
// short as that of ten.
const (
	teamRows  = 25  // analysts at once: those with the most work, where there are more
	peopleMax = 50  // whom alerts can be given to, as a list; of more the name is written
	heldRows  = 100 // of what somebody has
)

// team is who works at the desk, and who has or closed something besides.
type team struct {
	All      teamRow // of everybody, whoever is shown
	Rows     []teamRow
	People   int    // how many there are
	Who      string // what their names were searched for
	Found    int    // how many have it
	From, To int    // of those, which are shown
	Most     bool   // those with the most work come first
	Next     string // address of those behind, empty where there are none
}

type teamRow struct {
	Name                           string
	Claimed, Given                 int64
	Oldest                         string
	Late                           bool
	Today, TodayFraud, TodayMedian string
	Week, WeekFraud, WeekMedian    string
}

// member is one of a team, in numbers.
type member struct {
	name, display string
	load          alerts.Load
	work          alerts.Analyst
}

// members are who works at the desk, and who has or closed something besides, by name.
func members(o *alerts.Overview, users []User) []member {
	at := make(map[string]int)
	var list []member
	of := func(name string) *member {
		k, ok := at[name]
		if !ok {
			k, at[name] = len(list), len(list)
			list = append(list, member{name: name})
		}
		return &list[k]
	}
	for i := range users {
		if u := &users[i]; works(u) && u.Roles.Any(Roles(Analyst)) {
			of(u.Name).display = u.Display
		}
	}
	for _, l := range o.Load {
		of(l.Name).load = l
	}
	for _, a := range o.Analysts {
		of(a.Name).work = a
	}
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return list
}

// team makes the table of analysts: those whose names have the text who, from the one
// behind after on.
func (s *Server) team(o *alerts.Overview, users []User, q url.Values, now int64) team {
	list := members(o, users)
	all := member{work: o.All}
	for i := range list {
		l := &list[i].load
		if l.Claimed > 0 && (all.load.Claimed == 0 || l.Oldest < all.load.Oldest) {
			all.load.Oldest = l.Oldest
		}
		all.load.Claimed, all.load.Given = all.load.Claimed+l.Claimed, all.load.Given+l.Given
	}
	t := team{All: s.teamRow(&all, now), People: len(list), Who: strings.TrimSpace(q.Get("who"))}
	if who := strings.ToLower(t.Who); who != "" {
		list = slices.DeleteFunc(list, func(m member) bool {
			return !strings.Contains(m.name, who) && !strings.Contains(strings.ToLower(m.display), who)
		})
	}
	if t.Found = len(list); t.Found > teamRows {
		t.Most = true
		slices.SortStableFunc(list, func(a, b member) int {
			return cmp.Or(cmp.Compare(b.load.Claimed, a.load.Claimed), cmp.Compare(b.work.Week.Closed, a.work.Week.Closed))
		})
	}
	// Work moves people about: who is gone from where one stood is where one goes on.
	from := 1 + slices.IndexFunc(list, func(m member) bool { return m.name == q.Get("after") })
	list = list[from:]
	if len(list) > teamRows {
		list = list[:teamRows]
		next := url.Values{"after": {list[teamRows-1].name}}
		if t.Who != "" {
			next.Set("who", t.Who)
		}
		t.Next = "/supervisor?" + next.Encode() + "#team"
	}
	t.From, t.To = from+1, from+len(list)
	for i := range list {
		t.Rows = append(t.Rows, s.teamRow(&list[i], now))
	}
	return t
}

// teamRow puts the numbers of somebody into words.
func (s *Server) teamRow(m *member, now int64) teamRow {
	t := teamRow{Name: m.name, Claimed: m.load.Claimed, Given: m.load.Given, Oldest: "–"}
	if m.load.Claimed > 0 {
		waits := time.Duration(now-m.load.Oldest) * time.Millisecond
		t.Oldest, t.Late = span(max(waits, 0)), waits > s.within()
	}
	t.Today, t.TodayFraud, t.TodayMedian = workWords(m.work.Today)
	t.Week, t.WeekFraud, t.WeekMedian = workWords(m.work.Week)
	return t
}

func workWords(w alerts.Work) (closed, fraud, median string) {
	if w.Closed == 0 {
		return "0", "–", "–"
	}
	closed, fraud, median = count(w.Closed), fmt.Sprintf("%.0f %%", 100*float64(w.Fraud)/float64(w.Closed)), "–"
	if w.Timed > 0 {
		median = span(w.Median)
	}
	return closed, fraud, median
}

// searchTeam leads to those whose names have a text, which comes in a form's body, as
// what the queue is searched for does.
func (s *Server) searchTeam(w http.ResponseWriter, r *http.Request) error {
	who := strings.TrimSpace(r.PostFormValue("who"))
	if string(schemas.HideCards([]byte(who))) != who {
		return errCard
	}
	to := "/supervisor"
	if who != "" {
		to += "?" + url.Values{"who": {who}}.Encode()
	}
	http.Redirect(w, r, to+"#team", http.StatusSeeOther)
	return nil
}

// giveForm is what a form that gives alerts to somebody shows.
type giveForm struct {
	Alert  string   // the one to give, where the page was asked for with one
	To     string   // whom to, where that is said already
	People []choice // whom alerts can be given to; empty for too many to choose from
}

// people are whom alerts can be given to, as a list; none where it would be too long.
func people(users []User) (list []choice) {
	for i := range users {
		if u := &users[i]; works(u) {
			list = append(list, choice{Value: u.Name, Name: u.Display})
		}
	}
	if len(list) > peopleMax {
		return nil
	}
	return list
}

// works reports whether somebody can be given alerts.
func works(u *User) bool { return !u.Disabled && u.Roles.Any(workers) }

// personPage is what person.html shows.
type personPage struct {
	Note, Name string
	Acts       bool
	Has        int // how many alerts
	Held       []heldRow
	Give       giveForm
}

type heldRow struct {
	ID, Amount, Who, Merchant, Prob, Age, Raised string
	Begun, Late                                  bool
}

// person shows what somebody has.
func (s *Server) person(w http.ResponseWriter, r *http.Request) error {
	now, name := s.options.Now().UnixMilli(), r.PathValue("name")
	list, n, err := s.options.View.Held(r.Context(), name, heldRows)
	var users []User
	if err == nil {
		users, err = s.options.Accounts.Users(r.Context())
	}
	if err != nil {
		return err
	}
	p := personPage{Note: note(r.URL.Query()), Name: name, Acts: s.user(r).Roles.Any(Roles(Supervisor)), Has: n}
	if p.Acts && slices.ContainsFunc(users, func(u User) bool { return u.Name == name && works(&u) }) {
		p.Give.To = name
	}
	for i := range list {
		x := &list[i]
		v := rowOf(x)
		waits := time.Duration(now-x.Raised) * time.Millisecond
		p.Held = append(p.Held, heldRow{ID: v.ID, Amount: v.Amount, Who: v.Who, Merchant: v.Merchant, Prob: percent(x.Prob), Age: span(max(waits, 0)),
			Raised: fullTime(x.Raised), Begun: x.Since != 0, Late: waits > s.within()})
	}
	return s.page(w, r, http.StatusOK, "person", p)
}
