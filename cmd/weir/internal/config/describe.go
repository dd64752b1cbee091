package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Description is a setting with what its flags say of it.
type Description struct {
	*Setting
	Usage    string            // what it is, in the words of its flag
	Defaults map[string]string // by role, as flags write them; empty is none
	Varies   bool              // the default depends on the machine
}

// Default is what holds where nobody says anything, as the file would have it, and
// whether there is such a thing and the roles agree.
func (d *Description) Default() (text string, same bool) {
	same = true
	for i, role := range d.Roles() {
		if i == 0 {
			text = d.Defaults[role]
		}
		same = same && d.Defaults[role] == text
	}
	return d.yaml(text), same && text != "" && !d.Varies && !d.unset(text)
}

// unset reports whether a flag's default means that nothing is set.
func (d *Description) unset(text string) bool {
	return (d.Kind == Span || d.Kind == Number || d.Kind == Whole) && (text == "0" || text == "0s") && strings.Contains(d.Usage, "if not given")
}

// zeroParts are the minutes and seconds that 24h0m0s does not need.
var zeroParts = regexp.MustCompile(`([hm])(0m)?0s$`)

// yaml writes a value as the file has it.
func (d *Description) yaml(text string) string {
	switch {
	case d.Kind == Span:
		return zeroParts.ReplaceAllString(text, "$1")
	case d.Join == " ":
		return "[" + strings.Join(strings.Fields(text), ", ") + "]"
	case d.Kind == Text && !slices.Contains(d.Words, text) && traps.MatchString(text), strings.ContainsAny(text, `:#{}[]&*!|>'"%@`+"`") && d.Kind == Text, strings.Contains(text, "*"):
		return strconv.Quote(text)
	}
	return text
}

// Roles are the commands that take it, in the order in which people meet them.
func (d *Description) Roles() (list []string) {
	for _, role := range Roles {
		if _, ok := d.Defaults[role]; ok {
			list = append(list, role)
		}
	}
	return list
}

// Roles are the commands that weir.yaml is for.
var Roles = []string{"up", "score", "record", "desk", "train", "migrate"}

// names are all the ways to say it.
func (d *Description) names() string {
	flags := "--" + d.Flag()
	for _, short := range d.Short {
		flags += ", --" + short
	}
	return flags + "; " + d.Variable()
}

// kind is the value's kind, in words.
func (d *Description) kind() string {
	text := d.Kind.String()
	switch {
	case d.Kind == Choice:
		text += " " + strings.Join(d.Words, ", ")
	case d.Kind == Span && d.Days:
		text += ", with its unit: ms, s, m, h, d or w"
	case d.Kind == Span:
		text += ", with its unit: ms, s, m or h"
	case d.Kind == Bytes:
		text += ", with its unit: kB, MB, GB, KiB, MiB or GiB"
	case len(d.Words) > 0 && d.Kind != URL:
		text += ", or " + strings.Join(d.Words, ", ")
	}
	if d.Kind != Choice && d.Max > d.Min || d.Above {
		show := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
		if text += ", " + d.between(show); d.Kind == Span {
			text += " s"
		}
	}
	if d.Join != "" {
		text = "list of: " + text
	}
	return text
}

// defaultWords says what holds where nobody says anything.
func (d *Description) defaultWords() string {
	text, same := d.Default()
	switch {
	case same:
		return text
	case d.Varies:
		return "depends on the machine"
	}
	var list []string
	for _, role := range d.Roles() {
		if text := d.Defaults[role]; text != "" && !d.unset(text) {
			list = append(list, d.yaml(text)+" for weir "+role)
		}
	}
	return cmp.Or(strings.Join(list, ", "), "not set")
}

// Default writes the whole file: every key with what it means and what holds where
// it is not set, as comments.
func Default(all []Description) string {
	var b strings.Builder
	b.WriteString(`# weir.yaml: the settings of all of weir's roles; weir --config weir.yaml, or WEIR_CONFIG.
#
# One rule names a setting: the key kafka.sasl, sasl in the section kafka, is the flag
# --kafka-sasl and the variable WEIR_KAFKA_SASL. A flag goes before a variable, that before
# this file, and the file before what holds otherwise.
#
# What is commented out here is what holds where nothing is said, or an example where that is
# nothing. Secrets are not in this file: keys that end in -file say where they are. Keys with
# (SIGHUP) are read anew when weir is sent that signal; the others need a restart.
`)
	for _, section := range sections {
		indent := "  "
		if section.name == "" {
			indent = ""
			b.WriteString("\n")
		} else {
			fmt.Fprintf(&b, "\n# %s\n%s:\n", section.about, section.name)
		}
		for i := range all {
			if d := &all[i]; d.Section() == section.name {
				d.comment(&b, indent)
			}
		}
	}
	return b.String()
}

// comment writes one key of the file.
func (d *Description) comment(b *strings.Builder, indent string) {
	text := upper(d.Usage)
	if d.Reload {
		text += " (SIGHUP)"
	}
	for _, line := range wrap(text, 92-len(indent)) {
		fmt.Fprintf(b, "%s# %s\n", indent, line)
	}
	fmt.Fprintf(b, "%s# [%s]\n", indent, d.names())
	if text, same := d.Default(); same {
		fmt.Fprintf(b, "%s#%s: %s\n", indent, d.Name(), text)
	} else {
		fmt.Fprintf(b, "%s#%s: %s   # an example; %s\n", indent, d.Name(), d.Example, d.defaultWords())
	}
}

func upper(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// wrap cuts a text into lines of words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Explain says all there is to say of a setting.
func (d *Description) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", d.Key)
	for _, line := range wrap(upper(d.Usage)+". "+d.More, 88) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	row := func(what, text string) { fmt.Fprintf(&b, "  %-10s %s\n", what, text) }
	b.WriteString("\n")
	row("type", d.kind())
	row("default", d.defaultWords())
	flags := "--" + d.Flag()
	for _, short := range d.Short {
		flags += ", --" + short
	}
	row("flag", flags)
	row("variable", d.Variable())
	if d.Held != "" {
		row("", d.Held+" holds the secret itself, and goes before a file that only weir.yaml names")
	}
	if d.Join == ";" {
		row("", "between the items of the list stands ; there, and the flag is given once for each")
	} else if d.Join != "" {
		row("", fmt.Sprintf("between the items of the list stands %q there and in the flag", d.Join))
	}
	row("roles", "weir "+strings.Join(d.Roles(), ", weir "))
	if d.Reload {
		row("reload", "SIGHUP makes a change in the file good at once")
	} else {
		row("reload", "a change needs a restart; SIGHUP says so in the log")
	}
	if d.Section() == "" {
		fmt.Fprintf(&b, "\n  %s: %s\n", d.Name(), d.Example)
	} else {
		fmt.Fprintf(&b, "\n  %s:\n    %s: %s\n", d.Section(), d.Name(), d.Example)
	}
	return b.String()
}

// Entry is a description as JSON.
type Entry struct {
	Key      string   `json:"key"`
	Flag     string   `json:"flag"`
	Short    []string `json:"short,omitempty"`
	Variable string   `json:"variable"`
	Held     string   `json:"secret_variable,omitempty"`
	Type     string   `json:"type"`
	List     bool     `json:"list,omitempty"`
	Default  string   `json:"default,omitempty"`
	Example  string   `json:"example"`
	Usage    string   `json:"usage"`
	Roles    []string `json:"roles"`
	Reload   bool     `json:"reload"`
}

// Entry returns a description as JSON has it.
func (d *Description) Entry() Entry {
	e := Entry{Key: d.Key, Flag: "--" + d.Flag(), Variable: d.Variable(), Held: d.Held, Type: d.kind(), List: d.Join != "", Example: d.Example, Usage: d.Usage, Roles: d.Roles(), Reload: d.Reload}
	for _, short := range d.Short {
		e.Short = append(e.Short, "--"+short)
	}
	if text, same := d.Default(); same {
		e.Default = text
	}
	return e
}
