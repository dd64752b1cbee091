package browser

import (
	"net"
	"os"
	"testing"
)

// slowDesk starts a desk whose history takes what it is asked and never answers, and has
// tabs visit that one until the test ends. Somebody has an account there.
func slowDesk(t *testing.T, name, roles string) {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	data := t.TempDir()
	secret := data + "/secret"
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := weir("user", "add", name, "--role", roles, "--password-file", secret, "--data", data); err != nil {
		t.Fatal(err)
	}
	s, err := w.start("desk", "--kafka", w.brokers, "--data", data, "--web", "127.0.0.1:0", "--history", "clickhouse://"+silent.Addr().String()+"/weir")
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.said("serves metrics")
	if err == nil {
		err = ready(at)
	}
	before := w.desk
	t.Cleanup(func() { w.desk = before })
	if w.desk, err = s.said("serves the desk"); err != nil {
		t.Fatal(err)
	}
}

// TestACaseDoesNotWaitForItsHistory works on cases of a desk whose history does not
// answer: the case is there with all that is done with it, and what the history has to
// say takes its place behind. A desk without script has a link there.
func TestACaseDoesNotWaitForItsHistory(t *testing.T) {
	slowDesk(t, "zoe", "analyst,auditor")
	zoe := open(t, "zoe")
	zoe.enter()
	zoe.visit("/queue")
	zoe.press("[data-key=n]")
	path := zoe.path()
	js[bool](zoe, "document.querySelector('main').same = true")
	zoe.shows("This alert was raised")
	zoe.until("document.querySelector('.later')")
	zoe.fill("#note", "looked at it meanwhile")
	zoe.until("document.querySelector('#past .missing')?.innerText.includes('did not answer in time') && !document.querySelector('.later')")
	if !js[bool](zoe, "document.querySelector('main').same && document.querySelector('#note').value == 'looked at it meanwhile' && document.activeElement.id == 'note'") {
		t.Error("the page is another, or what was written is gone")
	}
	zoe.shows("This alert was raised")
	// The next case is fetched with what there is of its history.
	zoe.press(".acts [data-key=n]")
	zoe.until("location.pathname != '" + path + "' && document.querySelector('#past .missing')?.innerText.includes('did not answer in time')")
	zoe.without()
	zoe.visit(path)
	zoe.shows("still being looked up", "This alert was raised")
	zoe.press(".later a")
	zoe.shows("did not answer in time", "This alert was raised")
	zoe.press("h1 a")
	zoe.shows("still being looked up")
}
