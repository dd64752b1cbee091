package schemas

import (
	"os"
	"strings"
	"testing"
)

// TestHideName repeats names of files and no secrets.
func TestHideName(t *testing.T) {
	for name, shown := range map[string]bool{"none.key": true, "/run/secrets/none": true, "./none": true, "hunter2secret": false,
		"k1:00112233445566778899aabbccddeeff": false, "a/b+c=": false, "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n": false} {
		_, err := os.ReadFile(name)
		if err = HideName(err); err == nil || strings.Contains(err.Error(), name) != shown {
			t.Errorf("%q: %v", name, err)
		}
	}
}
