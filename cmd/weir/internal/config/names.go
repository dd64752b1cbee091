package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Named returns the setting that a key, a flag or a variable names, nil where none does,
// or where the name is that of a section.
func Named(name string) *Setting {
	if isSection(name) {
		return nil
	}
	flag := strings.TrimLeft(name, "-")
	for _, s := range Settings {
		if s.Key == name || s.Flag() == flag || s.Variable() == name || s.Held == name && name != "" {
			return s
		}
	}
	for _, s := range Settings {
		if slices.Contains(s.Short, flag) {
			return s
		}
	}
	return nil
}

// NoSuch says that there is no setting of a name, and which one may be meant.
func NoSuch(name string) string {
	spelled := spelling(name)
	section, _, _ := strings.Cut(spelled, ".")
	if key := held[spelled]; key != "" {
		return fmt.Sprintf("there is no key %s: a secret is in a file, and %s names it", name, key)
	}
	if isSection(name) {
		var keys []string
		for _, s := range Settings {
			if s.Section() == name {
				keys = append(keys, s.Key)
			}
		}
		return name + " is a section: " + strings.Join(keys, ", ")
	}
	if key := near(section, spelled); key != "" {
		return fmt.Sprintf("there is no setting %s: did you mean %s?", name, key)
	}
	if !aName.MatchString(name) {
		name = "of that name"
	}
	return fmt.Sprintf("there is no setting %s; weir config explain lists all", name)
}

// aName is what may be a name, a word or an address, and is no more than that.
var aName = regexp.MustCompile(`^[\w.:,\[\] -]{0,40}$`)

// Quoted returns a text for an error, in quotes, where it may be a name or an address that
// is misspelt. Anything else may be a secret in the wrong place, and is not repeated.
func Quoted(text string) string {
	if aName.MatchString(text) {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("what is written there, of %d bytes,", len(text))
}

// Hidden returns a value without what may be a secret in it.
func Hidden(text string) string {
	if strings.Contains(text, "-----BEGIN") || tokenKey.MatchString(text) {
		return "(hidden)"
	}
	if u, err := url.Parse(text); err == nil && strings.Contains(text, "://") {
		if q := u.Query(); q.Has("password") {
			q.Set("password", "hidden")
			u.RawQuery = q.Encode()
		}
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), "hidden")
		}
		return u.String()
	}
	return text
}

// Check looks at a variable's text as the file's values are looked at. What it says of it
// shows no secret.
func (s *Setting) Check(text string) error {
	list := []string{text}
	if s.Join != "" {
		list = strings.Split(text, s.Join)
	}
	for _, one := range list {
		if one = strings.TrimSpace(one); one == "" && s.Join == ";" {
			continue
		}
		if reason, hint := s.judge(one); reason != "" {
			return fmt.Errorf("%s; %s", reason, hint)
		}
	}
	return nil
}

// services are variables that Kubernetes sets for a service named weir-something.
var services = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP).*)?)$`)

// Misspelt says of the variables of an environment, NAME=TEXT, which are no setting's and
// are likely meant to be one.
func Misspelt(environ []string) (list []string) {
	var known []string
	for _, s := range Settings {
		if known = append(known, s.Variable()); s.Held != "" {
			known = append(known, s.Held)
		}
	}
	for _, one := range environ {
		name, _, _ := strings.Cut(one, "=")
		if !strings.HasPrefix(name, "WEIR_") || slices.Contains(known, name) || services.MatchString(name) {
			continue
		}
		meant := ""
		for _, s := range Settings {
			if slices.ContainsFunc(s.Short, func(f string) bool { return name == "WEIR_"+strings.ToUpper(strings.ReplaceAll(f, "-", "_")) }) {
				meant = s.Variable()
				break
			}
		}
		if meant == "" {
			if near := nearest(name, known); near != "" && distance(strings.ToLower(name), strings.ToLower(near)) <= 2 {
				meant = near
			}
		}
		if meant != "" {
			list = append(list, fmt.Sprintf("%s is no variable of weir's: did you mean %s?", name, meant))
		}
	}
	slices.Sort(list)
	return list
}
