package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
)

// TestRolesWaitForKafka starts each role before its broker: it is alive and not ready, says
// once where it looks for the broker and what to do, and works once there is one.
func TestRolesWaitForKafka(t *testing.T) {
	for _, c := range []struct {
		role string
		args []string
	}{
		{roleScore, []string{"score"}},
		{roleRecord, []string{"record"}},
		{roleDesk, []string{"desk", "--web", "127.0.0.1:0"}},
		{roleScore, []string{"up", "--web", "off"}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			t.Parallel()
			kafka, listen := freeAddress(t), freeAddress(t)
			weir := inBackground(t, append(c.args, "--kafka", kafka, "--listen", listen, "--data", t.TempDir())...)
			weir.until("that it waits", func() bool { return strings.Contains(weir.said(), "waits for Kafka") })
			if code, body := get(t, "http://"+listen+"/healthz"); code != http.StatusOK {
				t.Errorf("it waits, and is not alive: %d %s", code, body)
			}
			if code, body := get(t, "http://"+listen+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "waits for Kafka at "+kafka) {
				t.Errorf("it waits, and /readyz says %d %s", code, body)
			}
			_, metrics := get(t, "http://"+listen+"/metrics")
			if isProper(t, metrics); !strings.Contains(metrics, "\nweir_ready{role=\""+c.role+"\"} 0\n") {
				t.Errorf("it waits, and the metrics are\n%s", metrics)
			}
			b, err := broker.Start(broker.Options{Addr: kafka})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			weir.until("readiness", func() bool {
				r, err := http.Get("http://" + listen + "/readyz") // between waiting and working nobody answers
				if err != nil {
					return false
				}
				return r.Body.Close() == nil && r.StatusCode == http.StatusOK
			})
			weir.stop()
			if said := weir.said(); strings.Count(said, "waits for Kafka") != 1 || !strings.Contains(said, "brokers="+kafka) || !strings.Contains(said, "remedy=") {
				t.Errorf("its log is\n%s", said)
			}
		})
	}
}

// TestWhoWaitsForKafkaCanBeStopped stops a scorer that has no broker.
func TestWhoWaitsForKafkaCanBeStopped(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	weir := inBackground(t, "score", "--kafka", freeAddress(t), "--listen", "127.0.0.1:0", "--data", data)
	weir.until("that it waits", func() bool { return strings.Contains(weir.said(), "waits for Kafka") })
	weir.stop() // which fails where that is an error
}

// TestAWrongPasswordIsNotWaitedFor starts roles with a password that the broker does not
// know: no time makes it right.
func TestAWrongPasswordIsNotWaitedFor(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "weir", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	// kfake closes the connection, where Kafka answers.
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return answer, nil, true
	})
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "wrong")
	for _, role := range []string{"score", "record", "desk"} {
		weir := inBackground(t, role, "--kafka", cluster.ListenAddrs()[0], "--kafka-sasl", "PLAIN", "--kafka-user", "weir", "--kafka-password-file", password,
			"--listen", "127.0.0.1:0", "--data", t.TempDir())
		weir.ends(exitFailed, "check user and password")
	}
}
