package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const bom = `{"metadata":{"timestamp":"now","component":{"name":"weir"}},"components":[
	{"name":"a","version":"v1","evidence":{"licenses":[{"license":{"id":"MIT"}}]}},
	{"name":"b","version":"v2"},
	{"name":"std","version":"go1.26.8"}]}`

const terms = "allow MIT\nallow BSD-3-Clause # and why\nallow MPL-2.0\n\nb BSD-3-Clause AND MIT\nstd BSD-3-Clause\ndebian/ca MPL-2.0\n"

// finished returns the finished bill, and what is wrong with it.
func finished(t *testing.T, bom, terms, packages string) (string, string) {
	t.Helper()
	var b bill
	if err := json.Unmarshal([]byte(bom), &b); err != nil {
		t.Fatal(err)
	}
	l, err := parseLicences(terms)
	if err != nil {
		t.Fatal(err)
	}
	b.addPackages(packages)
	wrong := b.finish(map[string]string{"a": "v1", "b": "v2", "std": "go1.26.8"}, l, "v7")
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if wrong == nil {
		return string(text), ""
	}
	return string(text), wrong.Error()
}

func TestFinish(t *testing.T) {
	text, wrong := finished(t, bom, terms, "ca 2023\n")
	if wrong != "" {
		t.Error(wrong)
	}
	for _, want := range []string{`"licenses":[{"expression":"MIT"}],"name":"a"`, `"licenses":[{"expression":"BSD-3-Clause AND MIT"}],"name":"b"`, `pkg:deb/debian/ca@2023`, `"expression":"MPL-2.0"`, `"version":"v7"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s has no %s", text, want)
		}
	}
	if strings.Contains(text, "timestamp") {
		t.Error("the same program has another bill each time")
	}
}

func TestFinishFindsWhatIsWrong(t *testing.T) {
	for want, x := range map[string][3]string{
		"b v2 is in the program and not in its bill": {strings.ReplaceAll(bom, `"b","version":"v2"`, `"b","version":"v3"`), terms},
		"a v1 is in the program and not in its bill": {strings.ReplaceAll(bom, `"name":"a"`, `"name":"c"`), terms},
		"b v2: no licence is known":                  {bom, strings.ReplaceAll(terms, "b BSD-3-Clause AND MIT\n", "")},
		"a v1 is under AGPL-3.0":                     {strings.ReplaceAll(bom, "MIT", "AGPL-3.0"), terms},
		"b v2 is under GPL-2.0, which may not":       {bom, strings.ReplaceAll(terms, "AND MIT", "AND GPL-2.0")},
		"gone is not in the program any more":        {bom, terms + "gone MIT\n"},
		"debian/libc6 2.36: no licence is known":     {bom, terms, "libc6 2.36\n"},
		"it does not say what it is of":              {strings.ReplaceAll(bom, `"metadata"`, `"other"`), terms},
	} {
		if _, wrong := finished(t, x[0], x[1], x[2]); !strings.Contains(wrong, want) {
			t.Errorf("%q, and not %q", wrong, want)
		}
	}
	if _, err := parseLicences("b\n"); err == nil {
		t.Error("a module without a licence is taken")
	}
}

// TestNoticeNames has NOTICE name what asks to be named.
func TestNoticeNames(t *testing.T) {
	text, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"svgo", "FreeType", "Liberation", "Mozilla Public License"} {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), name) {
			t.Errorf("NOTICE does not name %s", name)
		}
	}
}
