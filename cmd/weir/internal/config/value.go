package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// traps are words that are a truth value in one YAML or another.
var traps = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false)$`)

// octal are numbers that are octal in one YAML and decimal in the other; based are those
// of other bases, sexagesimal ones of base 60.
var (
	octal       = regexp.MustCompile(`^[-+]?0[0-9_]+$`)
	based       = regexp.MustCompile(`^[-+]?0[xXoObB]`)
	sexagesimal = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+$`)
)

// written looks at how a value is written: whether two readers of YAML could take it
// for two things.
func (s *Setting) written(n *yaml.Node) (reason, hint string) {
	text, bare := n.Value, n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	number := s.Kind == Whole || s.Kind == Number
	switch {
	case bare && n.ShortTag() == "!!null":
		return "there is no value", "leave the key out for what holds where nothing is said"
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 && (s.Kind == Secret || strings.Contains(text, "-----BEGIN")):
		return "a secret is written into the file", s.refer()
	case strings.ContainsAny(text, "\n\r"):
		return "the value has more than one line", "for example " + s.Name() + ": " + s.Example
	case !bare && (number || s.Kind == Switch):
		return "this is text, because it stands in quotes", "take the quotes off"
	case !bare && text == "":
		return "the value is empty", "leave the key out for what holds where nothing is said"
	case text != strings.TrimSpace(text):
		return "there is a blank at the value's beginning or end", "take it off"
	case !bare || slices.Contains(s.Words, text):
		return "", ""
	case s.Kind == Switch:
		return s.switched(n)
	case number:
		return counted(text)
	case s.Kind == Span && n.ShortTag() != "!!str" && text != "0":
		return text + " has no unit", "for example " + s.Name() + ": " + s.Example
	case s.Kind == Bytes || s.Kind == Span || s.Kind == Address:
		return "", ""
	case traps.MatchString(text):
		return fmt.Sprintf("%s is a truth value in some versions of YAML", text), "write \"" + text + "\" in quotes if it is a name"
	case n.ShortTag() != "!!str" || sexagesimal.MatchString(text):
		return fmt.Sprintf("%s is no text but %s", text, tagName(n, text)), "write \"" + text + "\" in quotes"
	}
	return "", ""
}

func tagName(n *yaml.Node, text string) string {
	switch {
	case sexagesimal.MatchString(text):
		return "a number of base 60 in some versions of YAML"
	case n.ShortTag() == "!!timestamp":
		return "a date"
	}
	return "a number"
}

func (s *Setting) switched(n *yaml.Node) (reason, hint string) {
	switch {
	case n.Value == "true" || n.Value == "false":
		return "", ""
	case traps.MatchString(n.Value):
		word := "false"
		if slices.Contains([]string{"y", "yes", "on", "true"}, strings.ToLower(n.Value)) {
			word = "true"
		}
		return n.Value + " is a truth value in some versions of YAML and text in others", "write " + word
	}
	return fmt.Sprintf("%q is neither true nor false", n.Value), "write true or false"
}

// counted looks at how a number is written.
func counted(text string) (reason, hint string) {
	switch {
	case octal.MatchString(text):
		return text + " is octal in one version of YAML and decimal in another", "write it without the 0 in front"
	case based.MatchString(text):
		return text + " is of base 16, 8 or 2", "write it in decimal"
	case strings.Contains(text, "_") || strings.Contains(text, ","):
		return text + " has a sign between its digits", "write the digits alone"
	case sexagesimal.MatchString(text):
		return text + " is a number of base 60 in some versions of YAML", "write it in decimal"
	}
	return "", ""
}

// refer says where a secret belongs.
func (s *Setting) refer() string {
	hint := "put it into a file that only weir's user may read, and write the file's name here"
	if s.Held != "" {
		hint += ", or set the variable " + s.Held
	}
	return hint
}

// judge looks at one value, in the words that the flag takes too.
func (s *Setting) judge(text string) (reason, hint string) {
	if text == "" {
		return "there is nothing between two separators", "take one of them out"
	}
	if strings.Contains(text, "${") || strings.HasPrefix(text, "$") {
		return "variables are not put in here", "leave the key out and set " + s.Variable()
	}
	switch s.Kind {
	case Whole, Number:
		return s.number(text)
	case Span:
		return s.span(text)
	case Bytes:
		if !sizes.MatchString(text) {
			return fmt.Sprintf("%q is no size", text), "a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB behind it, or 0: 8GiB"
		}
	case Address:
		if !slices.Contains(s.Words, text) {
			return address(text)
		}
	case URL:
		return s.url(text)
	case Path, Secret, Output:
		return s.path(text)
	case Choice:
		if !slices.Contains(s.Words, text) {
			hint = "one of " + strings.Join(s.Words, ", ")
			if near := nearest(text, s.Words); near != "" {
				hint += ": " + near + "?"
			}
			return Quoted(text) + " is none of the words that it takes", hint
		}
	case Text:
		return s.special(text)
	}
	return "", ""
}

var sizes = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?) ?([KMGT]iB|[kMGT]?B)$|^[0-9]+$`)

func (s *Setting) number(text string) (reason, hint string) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Sprintf("%q is no number", text), "for example " + s.Name() + ": " + s.Example
	}
	if _, err := strconv.ParseInt(text, 10, 64); s.Kind == Whole && err != nil {
		return text + " is no whole number", "for example " + s.Name() + ": " + s.Example
	}
	if x < s.Min || s.Above && x == s.Min || s.Max > s.Min && x > s.Max {
		return text + " is out of range", s.between(func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) })
	}
	return "", ""
}

// between says what range a value has to be in.
func (s *Setting) between(show func(float64) string) string {
	from := "from " + show(s.Min)
	if s.Above {
		from = "above " + show(s.Min)
	}
	if s.Max > s.Min {
		return from + " up to " + show(s.Max)
	}
	return from + " on"
}

func (s *Setting) span(text string) (reason, hint string) {
	d, err := time.ParseDuration(text)
	if unit := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]; s.Days && unit > 0 {
		var n float64
		n, err = strconv.ParseFloat(text[:len(text)-1], 64)
		if d = time.Duration(n * float64(unit)); err == nil && !(n >= 0 && n <= 100_000) {
			return text + " is out of range", "from 0d up to 100000d"
		}
	} else if unit > 0 {
		return text + " is in days or weeks", "write it in hours: " + s.Example
	}
	if err != nil {
		return fmt.Sprintf("%q is no length of time", text), "a number with its unit, ms, s, m or h: " + s.Example
	}
	x := d.Seconds()
	if x < s.Min || s.Above && x == s.Min || s.Max > s.Min && x > s.Max {
		return text + " is out of range", s.between(func(x float64) string { return time.Duration(x * float64(time.Second)).String() })
	}
	return "", ""
}

func address(text string) (reason, hint string) {
	if strings.Contains(text, "://") {
		return fmt.Sprintf("%q is a URL and no HOST:PORT", text), "leave the scheme out"
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return Quoted(text) + " is no HOST:PORT", "name the port too; an IPv6 address stands in [ ]"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Sprintf("the port of %q is no number from 0 to 65535", text), "HOST:PORT, such as 127.0.0.1:9464"
	}
	return "", ""
}

func (s *Setting) url(text string) (reason, hint string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "this is no URL", "for example " + s.Name() + ": " + s.Example // it may hold a password
	case u.User != nil:
		return "the URL holds a user or a password", "the user has a key of its own, and the password a file"
	case !slices.Contains(s.Words, u.Scheme):
		return "the URL begins with none of " + strings.Join(s.Words, ", "), "for example " + s.Name() + ": " + s.Example
	case u.Host == "":
		return "the URL names no host", "for example " + s.Name() + ": " + s.Example
	}
	return "", ""
}

var tokenKey = regexp.MustCompile(`^[0-9A-Za-z_-]+:[0-9a-fA-F]{32,}$`)

func (s *Setting) path(text string) (reason, hint string) {
	switch {
	case strings.Contains(text, "-----BEGIN"), s.Kind == Secret && tokenKey.MatchString(text):
		return "a secret is written where a file's name belongs", s.refer()
	case strings.HasPrefix(text, "~"):
		return "~ is of shells and names no folder here", "write the folder's name out"
	case strings.HasPrefix(text, "file://"):
		return "this is a URL and no file's name", "write the path alone"
	case strings.HasPrefix(text, "vault:") || strings.HasPrefix(text, "aws:") || strings.HasPrefix(text, "env:"):
		return "weir fetches no secrets from elsewhere", s.refer()
	case strings.ContainsRune(text, 0):
		return "the file's name holds a zero byte", "write another"
	case text == "-":
		return "- is standard input, which a service does not have", "name a file"
	}
	return "", ""
}

var (
	topic  = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)
	roles  = []string{"analyst", "supervisor", "model-owner", "auditor"}
	device = regexp.MustCompile(`^(auto|cpu|cuda(:[0-9]+)?)$`)
)

// special looks at texts that mean something.
func (s *Setting) special(text string) (reason, hint string) {
	if strings.Contains(text, "-----BEGIN") {
		return "a secret is written into the file", s.refer()
	}
	switch s.Key {
	case "kafka.topic-prefix", "kafka.transactions":
		switch {
		case !topic.MatchString(text):
			return fmt.Sprintf("%q has a character that no topic's name has", text), "letters, digits, . _ and - are allowed"
		case len(text) > 200:
			return "the name is longer than 200 characters", "Kafka takes 249 for a topic with its ending"
		case text == "." || text == "..":
			return "no topic may be called . or ..", "name another"
		}
	case "device.name":
		if !device.MatchString(text) {
			return fmt.Sprintf("no device is called %q", text), "auto, cpu, cuda or cuda:N; weir device says what there is"
		}
	case "desk.webhooks-allow":
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Sprintf("%q is no network", text), "an address with the bits of the network behind it: 10.1.0.0/16"
		}
	case "oidc.role":
		return group(text)
	case "train.sample":
		if x, err := strconv.ParseFloat(text, 64); text != "auto" && !(err == nil && x > 0 && x <= 1) {
			return fmt.Sprintf("%q is no share", text), "auto, or above 0 up to 1, in quotes"
		}
	case "history.url":
		return historyURL(text)
	}
	return "", ""
}

func group(text string) (reason, hint string) {
	at := strings.LastIndexByte(text, '=')
	if at < 1 {
		return fmt.Sprintf("%q is not GROUP=ROLE,...", text), "for example fraud-leads=analyst,supervisor"
	}
	for role := range strings.SplitSeq(text[at+1:], ",") {
		if role = strings.TrimSpace(role); !slices.Contains(roles, role) {
			hint = "there are " + strings.Join(roles, ", ")
			if near := nearest(role, roles); near != "" {
				hint += ": " + near + "?"
			}
			return fmt.Sprintf("no role is called %q", role), hint
		}
	}
	return "", ""
}

func historyURL(text string) (reason, hint string) {
	if !strings.Contains(text, "://") {
		return "", "" // a file of SQLite
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "this is no URL", "clickhouse://USER@HOST:PORT/DATABASE"
	case u.Scheme != "clickhouse":
		return fmt.Sprintf("no history is kept by %s://", u.Scheme), "clickhouse://USER@HOST:PORT/DATABASE, or the name of a file of SQLite"
	case u.Host == "":
		return "the URL names no host", "clickhouse://USER@HOST:PORT/DATABASE"
	}
	_, inUser := u.User.Password()
	if inUser || u.Query().Has("password") {
		return "the URL holds a password", "history.password-file names the file of it, or the variable WEIR_CLICKHOUSE_PASSWORD holds it"
	}
	return "", ""
}
