package leaktest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestEachFormIsFound plants every form of a secret and of a card in other text, and finds
// it by its name; and finds nothing where there is nothing.
func TestEachFormIsFound(t *testing.T) {
	var s Search
	s.Add("password", []byte("p&ss \"w/rd+é-8fA3"))
	s.Add("key", []byte{0, 1, 2, 250, 251, 252, 253, 254, 255, 7, 8, 9})
	s.AddCard("card", "4000001234567899")
	if n := len(s.Known()); n < 60 {
		t.Fatalf("%d forms are known", n)
	}
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 0))
	noise := func(n int) []byte {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(r.Uint32())
		}
		return text
	}
	for name, text := range s.Known() {
		around := append(append(noise(r.IntN(200)), text...), noise(r.IntN(200))...)
		if found := s.In(around); len(found) == 0 {
			t.Errorf("%s is not found (seed %d)", name, seed)
		}
	}
	if found := s.In(noise(1 << 20)); len(found) > 0 {
		t.Errorf("%q is found in noise (seed %d)", found, seed)
	}
}

// TestBase64IsFoundAnywhere encodes a secret with anything before and behind it.
func TestBase64IsFoundAnywhere(t *testing.T) {
	const secret = "hunter2-and-more/????>>>>"
	var s Search
	s.Add("password", []byte(secret))
	for before := range 7 {
		for behind := range 4 {
			text := strings.Repeat("x", before) + secret + strings.Repeat("y", behind)
			for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding} {
				if found := s.In([]byte("head " + e.EncodeToString([]byte(text)) + " tail")); len(found) == 0 {
					t.Errorf("%s with %d before and %d behind is not found", name, before, behind)
				}
			}
		}
	}
	if found := s.In(fmt.Appendf(nil, "hunter2-and-less %x", "hunter2-and-less")); len(found) > 0 {
		t.Errorf("%q is found", found)
	}
}
