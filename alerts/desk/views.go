package desk

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// viewRoutes are those of saved views: filters of the queue that have a name.
func (s *Server) viewRoutes() []route {
	return []route{
		{pattern: "POST /views", roles: desk, handle: s.saveView},
		{pattern: "POST /views/{id}", roles: desk, handle: s.changeView},
	}
}

// savedView is one of them.
type savedView struct {
	ID          int64
	Owner, Name string
	Query       string // of the queue's address
	Shared      bool   // everybody sees it
	Default     bool   // of who asks: the queue begins with it
	Here, Mine  bool   // it is shown; who asks may delete it
}

// viewsBar is what part_views.html shows.
type viewsBar struct {
	List     []savedView
	Query    string // of the filter that could be saved, empty for none
	MayShare bool
}

// The bounds of saved views.
const (
	viewsMax     = 50 // of a user
	viewQueryMax = 1024
)

var (
	errNoView    = problemf(http.StatusNotFound, "There is no such view, or it is not yours. Somebody may have deleted it; load the queue anew.")
	errManyViews = problemf(http.StatusBadRequest, "You have %d views, and no more are kept. Delete one first.", viewsMax)
)

// viewQuery is what of a queue's address is its filter, always written in one way.
func viewQuery(q url.Values) string {
	kept := url.Values{}
	for key, values := range q {
		if key != "after" && key != "told" && len(values) > 0 && values[0] != "" {
			kept.Set(key, values[0])
		}
	}
	return kept.Encode()
}

// views returns the views that somebody sees: own ones, then those of others.
func (a *Accounts) views(ctx context.Context, user string) (list []savedView, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT v.view, v.user, v.name, v.query, v.shared, d.view IS NOT NULL FROM views v
		LEFT JOIN view_defaults d ON d.view = v.view AND d.user = ? WHERE v.user = ? OR v.shared ORDER BY v.user <> ?, v.name, v.view`, user, user, user)
	if err != nil {
		return nil, fmt.Errorf("list views of %s: %w", user, err)
	}
	defer rows.Close()
	for rows.Next() {
		var v savedView
		if err := rows.Scan(&v.ID, &v.Owner, &v.Name, &v.Query, &v.Shared, &v.Default); err != nil {
			return nil, fmt.Errorf("list views of %s: %w", user, err)
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// saveView keeps a view; one of the same name of the same user is changed.
func (a *Accounts) saveView(ctx context.Context, v savedView) error {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO views (user, name, query, shared) VALUES (?, ?, ?, ?)
			ON CONFLICT (user, name) DO UPDATE SET query = excluded.query, shared = excluded.shared`, v.Owner, v.Name, v.Query, v.Shared)
		var n int
		if err == nil {
			err = tx.QueryRowContext(ctx, `SELECT count(*) FROM views WHERE user = ?`, v.Owner).Scan(&n)
		}
		if err == nil && n > viewsMax {
			err = errManyViews
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("save view of %s: %w", v.Owner, err)
	}
	return nil
}

// deleteView deletes a view of a user, or a shared one of anybody.
func (a *Accounts) deleteView(ctx context.Context, user string, id int64, shared bool) error {
	done, err := a.db.ExecContext(ctx, `DELETE FROM views WHERE view = ? AND (user = ? OR shared AND ?)`, id, user, shared)
	if err == nil {
		err = one(done, errNoView)
	}
	if err != nil {
		return fmt.Errorf("delete view %d: %w", id, err)
	}
	return nil
}

// setDefault has the queue of a user begin with a view, with none where id is 0.
func (a *Accounts) setDefault(ctx context.Context, user string, id int64) error {
	if id == 0 {
		_, err := a.db.ExecContext(ctx, `DELETE FROM view_defaults WHERE user = ?`, user)
		return err
	}
	done, err := a.db.ExecContext(ctx, `INSERT OR REPLACE INTO view_defaults (user, view) SELECT ?, view FROM views WHERE view = ? AND (user = ? OR shared)`, user, id, user)
	if err == nil {
		err = one(done, errNoView)
	}
	if err != nil {
		return fmt.Errorf("begin with view %d: %w", id, err)
	}
	return nil
}

// viewsBar gathers what the queue shows of views, for a filter.
func (s *Server) viewsBar(r *http.Request) (bar viewsBar, err error) {
	u := s.user(r)
	bar.Query, bar.MayShare = viewQuery(r.URL.Query()), u.Roles.Any(Roles(Supervisor))
	if bar.List, err = s.options.Accounts.views(r.Context(), u.Name); err != nil {
		return bar, err
	}
	for i := range bar.List {
		v := &bar.List[i]
		v.Here, v.Mine = v.Query == bar.Query, v.Owner == u.Name || bar.MayShare
	}
	return bar, nil
}

// beginsWith leads to the view that the queue of who asks begins with, where the
// address says nothing of what to show.
func (s *Server) beginsWith(w http.ResponseWriter, r *http.Request, bar *viewsBar) bool {
	for _, v := range bar.List {
		if v.Default && r.URL.RawQuery == "" {
			http.Redirect(w, r, "/queue?"+v.Query, http.StatusSeeOther)
			return true
		}
	}
	return false
}

// saveView keeps the filter of the queue under a name.
func (s *Server) saveView(w http.ResponseWriter, r *http.Request) error {
	u := s.user(r)
	q, err := url.ParseQuery(r.PostFormValue("query"))
	v := savedView{Owner: u.Name, Name: strings.TrimSpace(r.PostFormValue("name")), Query: viewQuery(q), Shared: r.PostFormValue("shared") != ""}
	if err == nil {
		err = parseDisplay(v.Name)
	}
	plain, _ := url.QueryUnescape(v.Query) // it was just written
	switch hidden := schemas.HideCards([]byte(v.Name + "\n" + plain)); {
	case string(hidden) != v.Name+"\n"+plain:
		return errCard
	case err != nil || v.Query == "" || len(v.Query) > viewQueryMax:
		return problemf(http.StatusBadRequest, "A view is a filter with a name of 1 to %d bytes. Filter the queue first, then save that.", displayMax)
	case v.Shared && !u.Roles.Any(Roles(Supervisor)):
		return problemf(http.StatusForbidden, "Only supervisors share views with everybody. Nothing was saved.")
	}
	if v.Shared {
		if err := s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditChanged, Of: []byte("view " + v.Name), Detail: []byte("shared: " + plain)}); err != nil {
			return err
		}
	}
	if err := s.options.Accounts.saveView(r.Context(), v); err != nil {
		return err
	}
	http.Redirect(w, r, "/queue?"+v.Query, http.StatusSeeOther)
	return nil
}

// changeView deletes a view, or has the queue begin with it or with none.
func (s *Server) changeView(w http.ResponseWriter, r *http.Request) error {
	u, a := s.user(r), s.options.Accounts
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		return errNoView
	}
	switch r.PostFormValue("do") {
	case "delete":
		shares := u.Roles.Any(Roles(Supervisor))
		if shares {
			err = s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditChanged, Of: fmt.Appendf(nil, "view %d", id), Detail: []byte("deleted")})
		}
		if err == nil {
			err = a.deleteView(r.Context(), u.Name, id, shares)
		}
	case "begin":
		err = a.setDefault(r.Context(), u.Name, id)
	case "begin with all":
		err = a.setDefault(r.Context(), u.Name, 0)
	default:
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done. Load the queue anew.")
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/queue?"+everything, http.StatusSeeOther)
	return nil
}

// everything is the query of a queue that begins with no view.
const everything = "status="
