package config

import (
	"slices"
	"strings"
)

// held are names that people give to secrets themselves, by the key of their file.
var held = map[string]string{
	"kafka.password": "kafka.password-file", "kafka.sasl-password": "kafka.password-file",
	"schema-registry.password": "schema-registry.password-file",
	"history.password":         "history.password-file",
	"oidc.client-secret":       "oidc.client-secret-file", "oidc.secret": "oidc.client-secret-file",
	"keys.token": "keys.token-file", "keys.token-key": "keys.token-file", "keys.token-previous": "keys.token-previous-file",
	"keys.signing": "keys.train-file", "keys.train": "keys.train-file", "keys.desk": "keys.desk-file", "keys.rollback": "keys.rollback-file",
}

// unknown notes a key that there is not.
func (f *File) unknown(at Place, section, name string) {
	if !aName.MatchString(name) { // it may be a secret that belongs elsewhere
		f.problem(at, "", "there is neither a section nor a key of that name", "weir config default lists all keys")
		return
	}
	full := name
	if section != "" {
		full = section + "." + name
	}
	spelled := spelling(full)
	if key := held[spelled]; key != "" {
		f.problem(at, full, full+" would be a secret in the file", "set "+key+": "+Find(key).refer())
		return
	}
	reason, hint := "there is no key "+full, "weir config default lists all keys"
	if section == "" && !strings.Contains(name, ".") {
		reason = "there is neither a section nor a key " + name
	}
	switch s := Find(spelled); {
	case s != nil && section == "" && strings.Contains(name, "."):
		reason, hint = name+" stands in one line", "sections are nested: write "+s.Section()+": and below it, indented, "+s.Name()+": "+s.Example
	case s != nil:
		hint = "keys are in small letters, with - between words: " + s.Name()
	case section == "" && isSection(spelled):
		hint = "sections are in small letters, with - between words: " + spelled
	default:
		if near := near(section, spelled); near != "" {
			hint = "did you mean " + below(near) + "?"
		}
	}
	f.problem(at, full, reason, hint)
}

// below says where a key stands.
func below(key string) string {
	section, name, found := strings.Cut(key, ".")
	if !found {
		return key
	}
	return name + " in section " + section
}

// spelling turns other styles of writing a key into the file's: passwordFile and
// password_file into password-file.
func spelling(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case r == '_' || r == ' ':
			b.WriteByte('-')
		case r >= 'A' && r <= 'Z':
			if i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
				b.WriteByte('-')
			}
			b.WriteRune(r - 'A' + 'a')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// near returns the key that somebody may have meant: one of the section before others,
// and before one of a similar name that has the same last part or a flag of the name.
func near(section, full string) string {
	last := full[strings.LastIndexByte(full, '.')+1:]
	var inside, all []string
	for _, s := range Settings {
		all = append(all, s.Key)
		if s.Section() == section {
			inside = append(inside, s.Key)
		}
	}
	if section != "" {
		if key := nearest(full, inside); key != "" {
			return key
		}
	}
	for _, s := range Settings {
		if s.Name() == last || slices.Contains(s.Short, last) || s.Flag() == last {
			return s.Key
		}
	}
	if section == "" {
		var names []string
		for _, s := range sections {
			names = append(names, s.name)
		}
		if name := nearest(full, names); name != "" {
			return name
		}
	}
	return nearest(full, all)
}

// nearest returns the word that is few letters from another, "" where none is.
func nearest(text string, words []string) string {
	best, found := len(text)/3+1, ""
	text = strings.ToLower(text)
	for _, w := range words {
		if d := distance(text, strings.ToLower(w)); d <= best && (found == "" || d < best) {
			best, found = d, w
		}
	}
	return found
}

// distance is how many letters are to be put in, taken out, changed or exchanged with
// the next to get from one word to another.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
