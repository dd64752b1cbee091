package desk

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/*
var staticFiles embed.FS

// assets are the files of static.
type assets struct {
	names map[string]string // by file: its name with the hash
	files map[string]asset  // by that name
}

type asset struct {
	kind string // Content-Type
	body []byte
}

// kinds are the types of the files, whatever the machine's own list says.
var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func loadAssets() (*assets, error) {
	a := &assets{names: make(map[string]string), files: make(map[string]asset)}
	files, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		body, err := staticFiles.ReadFile(path.Join("static", f.Name()))
		if err != nil {
			return nil, err
		}
		ext := path.Ext(f.Name())
		if kinds[ext] == "" {
			return nil, fmt.Errorf("static file %s: no type is known of %s", f.Name(), ext)
		}
		sum := sha256.Sum256(body)
		name := strings.TrimSuffix(f.Name(), ext) + "." + hex.EncodeToString(sum[:8]) + ext
		a.names[f.Name()], a.files[name] = name, asset{kinds[ext], body}
	}
	return a, nil
}

// path returns where a file of static is served.
func (a *assets) path(file string) (string, error) {
	name, ok := a.names[file]
	if !ok {
		return "", fmt.Errorf("there is no static file %s", file)
	}
	return "/static/" + name, nil
}

// static serves a file under the name that carries its hash, for good.
func (s *Server) static(w http.ResponseWriter, r *http.Request) error {
	f, ok := s.assets.files[r.PathValue("name")]
	if !ok {
		return problemf(http.StatusNotFound, "There is no such file. Load the page anew: it names the one that there is.")
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(f.body)))
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, err := w.Write(f.body)
	return err
}

// layoutFile is the frame of every page.
const layoutFile = "templates/layout.html"

// partFiles are what several pages show, or one that somebody else keeps; any page may
// name what they define.
const partFiles = "templates/part_*.html"

// loadPages reads the templates: each file but the layout and the parts is a page, by
// its name.
func loadPages(a *assets) (map[string]*template.Template, error) {
	layout, err := template.New("layout.html").Funcs(template.FuncMap{"asset": a.path, "inc": func(i int) int { return i + 1 }}).ParseFS(templateFiles, layoutFile, partFiles)
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, file := range files {
		if part, err := path.Match(partFiles, file); part || err != nil || file == layoutFile {
			continue
		}
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, err
		}
		pages[strings.TrimSuffix(path.Base(file), ".html")] = page
	}
	return pages, nil
}

// shown is what a template is given.
type shown struct {
	User *User // nil where nobody is logged in
	Nav  []link
	Now  int64 // by the desk's clock, from which the page's goes on
	Data any
}

// page sends a page. It is made whole first, so that a template which fails is an
// error page and not half of one.
func (s *Server) page(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	page, ok := s.pages[name]
	if !ok {
		return fmt.Errorf("there is no page %s", name)
	}
	given := shown{User: s.user(r), Now: s.options.Now().UnixMilli(), Data: data}
	if given.User != nil {
		given.Nav = s.nav(given.User, r.URL.Path)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, given); err != nil {
		return fmt.Errorf("make page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", mime.FormatMediaType("text/html", map[string]string{"charset": "utf-8"}))
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // where the browser is gone, nobody reads it
	return nil
}
