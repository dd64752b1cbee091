package config

import (
	"slices"
	"strings"
)

// A Kind is what a setting's value is.
type Kind uint8

// The kinds of values.
const (
	Text    Kind = iota // any text
	Switch              // true or false
	Whole               // a whole number
	Number              // a number
	Span                // a length of time, such as 36h
	Bytes               // a number of bytes, such as 8GiB
	Address             // HOST:PORT
	URL                 // a URL
	Path                // the name of a file that is there
	Secret              // the name of a file that is there and holds a secret
	Output              // the name of a file or folder that weir makes
	Choice              // one of some words
)

var kindNames = [...]string{"text", "true or false", "whole number", "number", "length of time", "size", "HOST:PORT", "URL", "file", "file of a secret", "path", "one of"}

func (k Kind) String() string { return kindNames[k] }

// A Setting is one thing that can be said in the file.
type Setting struct {
	Key   string
	Short []string // flags that say the same as the one that the rule names
	Kind  Kind
	// Join is of a list: what stands between its items in the flag. Where it is
	// ";" the flag is given once for each, and ; is between them in the variable.
	Join     string
	Min, Max float64  // of numbers, where Max > Min
	Above    bool     // Min itself is too little
	Words    []string // of a choice; or of a text, words that are no mistake as they are
	Days     bool     // a length of time may be in days and weeks too
	Example  string
	More     string // what explain says beside the flag's own words
	// Held is the variable of the secret itself, which goes before a file that only
	// this file names.
	Held   string
	Reload bool // SIGHUP makes a change of it good
}

// Flag is the name of the setting's flag, without dashes.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Key, ".", "-") }

// Variable is the name of the setting's environment variable.
func (s *Setting) Variable() string {
	return "WEIR_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.Key))
}

// Section is the first part of the key, empty where there is one part only.
func (s *Setting) Section() string {
	section, _, found := strings.Cut(s.Key, ".")
	if !found {
		return ""
	}
	return section
}

// Name is the last part of the key.
func (s *Setting) Name() string { return s.Key[strings.LastIndexByte(s.Key, '.')+1:] }

// Find returns the setting of a key, nil where there is none.
func Find(key string) *Setting {
	if i := slices.IndexFunc(Settings, func(s *Setting) bool { return s.Key == key }); i >= 0 {
		return Settings[i]
	}
	return nil
}

// Of returns the setting that a flag of a command says, nil where it says none. A short
// flag that two settings have, --rows-max say, is of the section of the command's name,
// and those of section train are of weir train alone.
func Of(command, flag string) *Setting {
	var found *Setting
	for _, s := range Settings {
		switch {
		case s.Flag() == flag:
			return s
		case !slices.Contains(s.Short, flag):
		case s.Section() == "train" && (command == "train" || strings.HasPrefix(flag, "train-")):
			return s
		case s.Section() != "train" && found == nil:
			found = s
		}
	}
	return found
}

// Split returns the values that a flag is given for the text of a variable. Blanks
// beside what stands between the items of a list are no part of them.
func (s *Setting) Split(text string) (list []string) {
	if s.Join == "" {
		return []string{text}
	}
	for one := range strings.SplitSeq(text, s.Join) {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	if s.Join != ";" {
		return []string{strings.Join(list, s.Join)}
	}
	return list
}

// sections are what the file's parts are about, in its order.
var sections = []struct{ name, about string }{
	{"", ""},
	{"log", "What is logged, on stderr."},
	{"metrics", "Where a role says of itself how it is."},
	{"otlp", "Where traces of sampled transactions are sent, by OpenTelemetry's protocol."},
	{"kafka", "The brokers, and what the topics are called."},
	{"broker", "The broker inside weir up, where kafka.brokers names no other."},
	{"schema-registry", "Where the schemas of Avro and Protobuf are."},
	{"source", "How transactions are written."},
	{"spec", "The features."},
	{"keys", "Keys: files, never the keys themselves."},
	{"score", "The scorer."},
	{"device", "What scores: the CPU or a GPU."},
	{"history", "Where decisions are kept to be looked up and learnt from: ClickHouse or SQLite."},
	{"desk", "The pages where analysts work."},
	{"oidc", "The identity provider at which people log in."},
	{"train", "How models are learnt, by weir train --every and by weir up where train.every is set."},
}

// isSection reports whether a name is one of a section.
func isSection(name string) bool {
	return name != "" && slices.ContainsFunc(sections, func(s struct{ name, about string }) bool { return s.name == name })
}
