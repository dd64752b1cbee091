package weir_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreats finds each test that the page of threats names, and a test in each line of
// its table.
func TestThreats(t *testing.T) {
	page, err := os.ReadFile("deploy/THREATS.md")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	err = filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if d.IsDir() && strings.HasPrefix(name, ".") && name != "." {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{"spoofing": 0, "tampering": 0, "repudiation": 0, "disclosure": 0, "denial": 0, "elevation": 0}
	for line := range strings.Lines(string(page)) {
		tests := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			if !there[m[1]] {
				t.Errorf("there is no %s", m[1])
			}
		}
		if cells := strings.Split(line, " | "); len(cells) == 4 {
			kind := strings.TrimPrefix(cells[0], "| ")
			if _, known := kinds[kind]; known {
				kinds[kind]++
				if len(tests) == 0 {
					t.Errorf("nothing shows what is done about %q", cells[1])
				}
			}
		}
	}
	for kind, threats := range kinds {
		if threats == 0 {
			t.Errorf("the page has no threat of %s", kind)
		}
	}
}
