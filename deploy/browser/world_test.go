package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/segmentio/kafka-go"
)

const password = "correct horse battery"

// A world is a bank that pays, a weir that scores, a desk, and a browser. The tests
// share one: each works on alerts that it finds open, under names of its own.
type world struct {
	dir     string
	brokers string
	metrics string // of the scorer
	desk    string // where its pages are
	browser context.Context
	to      *kafka.Writer
	paid    int      // transactions that were sent
	later   [][]byte // those that are still to come, in the order of time
	ends    []func()
}

var w *world

// within bounds what a test waits for.
const within = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv("WEIR_BINARY") == "" {
		fmt.Fprintln(os.Stderr, "browser: start these tests with deploy/browser/run, which builds and fetches what they need")
		os.Exit(1)
	}
	os.Exit(func() int {
		w = &world{}
		defer w.end()
		if err := w.begin(); err != nil {
			fmt.Fprintln(os.Stderr, "browser:", err)
			return 1
		}
		return m.Run()
	}())
}

func (w *world) end() {
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.ends[i]()
	}
}

// begin starts everything, and lets the bank pay up to yesterday.
func (w *world) begin() (err error) {
	if w.dir, err = os.MkdirTemp("", "weir-browser-"); err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = os.RemoveAll(w.dir) })
	if err := w.learn(); err != nil {
		return err
	}
	up, err := w.start("up", "--data", w.file("up"), "--broker", "127.0.0.1:0", "--bundle", w.file("model.weir"), "--partitions", "1", "--second-looks", "1", "--web", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if w.brokers, err = up.said("broker"); err != nil {
		return err
	}
	if w.metrics, err = up.said("serves metrics"); err != nil {
		return err
	}
	if w.desk, err = up.said("serves the desk"); err != nil {
		return err
	}
	if err := w.feed(); err != nil {
		return err
	}
	if err := ready(w.metrics); err != nil {
		return err
	}
	return w.openBrowser()
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// history is how many days the bank has paid before the desk opens; the day after
// them, up to now, is paid while the tests run.
const history = 29

// learn lets the bank pay into files, and makes a model of them.
func (w *world) learn() error {
	from := time.Now().UTC().AddDate(0, 0, -history-1).Format(time.DateOnly)
	_, err := weir("simulate", "--customers", "1000", "--days", strconv.Itoa(history+2), "--start", from, "--fraud-share", "0.012",
		"--output", w.file("transactions.jsonl"), "--labels", w.file("labels.jsonl"), "--rates", w.file("rates.jsonl"))
	if err != nil {
		return err
	}
	_, err = weir("train", "--labels", w.file("labels.jsonl"), "--rates", w.file("rates.jsonl"), "--ripe", "10d", "--review-share", "0.01",
		"--key", w.file("up/signing.key"), "--journal", w.file("trials.jsonl"), "--out", w.file("model.weir"), w.file("transactions.jsonl"))
	return err
}

// feed sends what the bank has paid and what was known of it up to yesterday, and
// waits until it is decided.
func (w *world) feed() error {
	w.to = &kafka.Writer{Addr: kafka.TCP(w.brokers), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, BatchSize: 1000}
	now := time.Now().UTC()
	yesterday := now.Truncate(24*time.Hour).AddDate(0, 0, -1)
	if err := w.send("rates", "rates.jsonl", "", time.Time{}, nil); err != nil {
		return err
	}
	if err := w.send("labels", "labels.jsonl", "known_at", yesterday, nil); err != nil {
		return err
	}
	var all [][]byte
	if err := w.send("transactions", "transactions.jsonl", "time", now, &all); err != nil {
		return err
	}
	for i, line := range all {
		if timeOf(line, "time").After(yesterday) {
			w.later = all[i:]
			return w.pay(all[:i])
		}
	}
	return errors.New("the bank has not paid since yesterday")
}

// send sends a file's lines to a topic, those before a time, or only collects them.
func (w *world) send(topic, file, key string, before time.Time, into *[][]byte) error {
	text, err := os.ReadFile(w.file(file))
	if err != nil {
		return err
	}
	var list []kafka.Message
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if key != "" && !timeOf(line, key).Before(before) {
			continue
		}
		if into != nil {
			*into = append(*into, line)
		} else {
			list = append(list, kafka.Message{Topic: topic, Key: line[:min(len(line), 40)], Value: line})
		}
	}
	return w.to.WriteMessages(context.Background(), list...)
}

// timeOf reads one time of a line.
func timeOf(line []byte, key string) time.Time {
	_, rest, _ := bytes.Cut(line, []byte(`"`+key+`":"`))
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	t, _ := time.Parse(time.RFC3339, string(text)) // what is none is at the beginning of time
	return t
}

// pay sends transactions and waits until they are decided.
func (w *world) pay(lines [][]byte) error {
	list := make([]kafka.Message, len(lines))
	for i, line := range lines {
		list[i] = kafka.Message{Topic: "transactions", Value: line}
	}
	if err := w.to.WriteMessages(context.Background(), list...); err != nil {
		return err
	}
	w.paid += len(lines)
	return wait(func() (bool, error) {
		n, err := w.count("weir_decisions_total")
		return n >= float64(w.paid), err
	}, "%d decisions", w.paid)
}

// count sums a counter of the scorer.
func (w *world) count(name string) (sum float64, err error) {
	text, err := get("http://" + w.metrics + "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name) {
			x, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):]), 64)
			if err != nil {
				return 0, err
			}
			sum += x
		}
	}
	return sum, nil
}

// arrive lets the bank pay until so many alerts more were raised.
func (w *world) arrive(t *testing.T, alerts int) {
	t.Helper()
	const name = "weir_alerts_total"
	before, err := w.count(name)
	for n := before; err == nil && n < before+float64(alerts); n, err = w.count(name) {
		if len(w.later) == 0 {
			t.Fatal("the bank has paid all that it had to")
		}
		some := min(20, len(w.later))
		if err := w.pay(w.later[:some]); err != nil {
			t.Fatal(err)
		}
		w.later = w.later[some:]
	}
	if err != nil {
		t.Fatal(err)
	}
}

// account adds somebody, whom pages call by a name with a capital.
func (w *world) account(name string, roles string) error {
	secret := w.file("secret")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	_, err := weir("user", "add", name, "--role", roles, "--display", strings.ToUpper(name[:1])+name[1:], "--password-file", secret, "--data", w.file("up"))
	return err
}

// records returns the values of a topic's records whose key has a value.
func (w *world) records(t *testing.T, topic, key, value string) (list []map[string]any) {
	t.Helper()
	out, err := weir("tail", "--kafka", w.brokers, "--from", "start", "--end", topic)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out) {
		var r struct{ Value map[string]any }
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Value[key] == value {
			list = append(list, r.Value)
		}
	}
	return list
}

// weir runs weir to its end.
func weir(args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := exec.Command(os.Getenv("WEIR_BINARY"), args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("weir %s: %w\n%s", strings.Join(args, " "), err, &said)
	}
	return out.Bytes(), nil
}

// A service is weir as a process that goes on.
type service struct {
	name  string
	mu    sync.Mutex
	lines []map[string]any // its log
	ended bool
}

// start starts weir; it is stopped at the end.
func (w *world) start(args ...string) (*service, error) {
	s := &service{name: args[0]}
	cmd := exec.Command(os.Getenv("WEIR_BINARY"), append(args, "--listen", "127.0.0.1:0", "--log", "json")...)
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { // ends with the process
		s.read(log)
		_ = cmd.Wait() // what it said tells more
		close(done)
	}()
	w.ends = append(w.ends, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	return s, nil
}

func (s *service) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line = map[string]any{"msg": lines.Text()}
		}
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
}

// said waits until the log has a message, and returns the address in it.
func (s *service) said(message string) (address string, err error) {
	err = wait(func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, line := range s.lines {
			if line["msg"] == message {
				address, _ = line["address"].(string)
				return true, nil
			}
		}
		if s.ended {
			return false, fmt.Errorf("weir %s has ended: %v", s.name, s.lines)
		}
		return false, nil
	}, "%q in the log of weir %s", message, s.name)
	return address, err
}

// ready waits until a service says that it is.
func ready(at string) error {
	return wait(func() (bool, error) {
		_, err := get("http://" + at + "/readyz")
		return err == nil, nil
	}, "a service that is ready at %s", at)
}

func get(url string) (string, error) {
	a, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, a.Status)
	}
	return string(body), err
}

// wait waits until something holds, and says what was waited for where it does not.
func wait(holds func() (bool, error), format string, a ...any) error {
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		ok, err := holds()
		switch {
		case err != nil:
			return fmt.Errorf("wait for "+format+": %w", append(a, err)...)
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("no "+format+" within %v", append(a, within)...)
		}
	}
}

// openBrowser starts Chromium. It shows pages of this machine alone, and of this desk.
func (w *world) openBrowser() error {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(os.Getenv("WEIR_CHROMIUM")), chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	w.ends = append(w.ends, cancel)
	w.browser, cancel = chromedp.NewContext(ctx)
	w.ends = append(w.ends, cancel)
	return chromedp.Do(w.browser)
}
