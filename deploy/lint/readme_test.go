package lint

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadme tries the commands of deploy/README.md as far as they can be tried here: weir
// takes those of weir, helm does those of helm without a cluster, and what is named is there.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(root + "/deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("deploy/[a-z]+[a-zA-Z/.-]*[a-zA-Z]").FindAllString(string(text), -1) {
		if _, err := os.Stat(root + "/" + name); err != nil && name != "deploy/compose/secrets.d" { // which is made
			t.Errorf("there is no %s", name)
		}
	}
	tried := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		command, isCommand := strings.CutPrefix(line, "    ")
		if !isCommand {
			continue
		}
		words := strings.Fields(command)
		switch i := slices.Index(words, "/weir"); {
		case i >= 0:
			words = words[i+1:]
		case words[0] == "weir":
			words, _, _ = cut(words[1:], ">")
		case slices.Contains(words, "weir:0.1.0") && slices.Contains(words, "run"):
			_, words, _ = cut(words, "weir:0.1.0")
		case words[0] == "helm":
			tried++
			helm(t, words[1:])
			continue
		default:
			continue
		}
		tried++
		if _, stderr, err := run(nil, "weir", append(words, "--help")...); err != nil {
			t.Errorf("%s\n%s", command, stderr)
		}
	}
	if tried < 12 {
		t.Errorf("%d commands were tried", tried)
	}
}

// cut cuts words around one.
func cut(words []string, at string) (before, after []string, found bool) {
	if i := slices.Index(words, at); i >= 0 {
		return words[:i], words[i+1:], true
	}
	return words, nil, false
}

// helm does a command of helm's; what would install prints what it would.
func helm(t *testing.T, words []string) {
	t.Helper()
	command := strings.Join(words, " ")
	if rest, ok := strings.CutPrefix(command, "upgrade --install"); ok {
		words = strings.Fields("template" + rest)
	}
	for i, w := range words {
		if strings.HasPrefix(w, "deploy/") {
			words[i] = root + "/" + w
		}
	}
	if stdout, stderr, err := run(nil, "helm", words...); err != nil {
		t.Errorf("helm %s\n%s%s", command, stdout, stderr)
	}
}
