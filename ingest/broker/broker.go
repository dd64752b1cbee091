// Package broker is the embedded broker: kfake, franz-go's Kafka in memory,
// with its data folder, so that weir runs with nothing configured. It speaks
// Kafka's protocol on a loopback port, and keeps what it acknowledged when its
// process is killed; a power failure may take the last moments unless
// SyncWrites is set. It is for trials, tests and small installations; a bank
// runs Apache Kafka, through the same client.
package broker

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options say where the broker listens and what it keeps.
type Options struct {
	Dir        string // data folder, made if absent; empty keeps everything in memory
	Addr       string // host:port; empty is a loopback port that the system chooses
	SyncWrites bool   // sync every append: nothing acknowledged is lost in a power failure, 15 times slower
	// Session is the shortest session timeout that a group may ask for; the
	// default is Kafka's, 6 s.
	Session time.Duration
	// Config holds broker settings by their Kafka names.
	Config map[string]string
}

// Broker is a running broker.
type Broker struct{ cluster *kfake.Cluster }

// Start starts a broker; it serves when Start returns.
func Start(o Options) (*Broker, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.ClusterID("weir"),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, o.Addr) }),
	}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the broker's folder: %w", err)
		}
		opts = append(opts, kfake.DataDir(o.Dir))
	}
	if o.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	if o.Session > 0 {
		opts = append(opts, kfake.GroupMinSessionTimeout(o.Session))
	}
	if o.Config != nil {
		opts = append(opts, kfake.BrokerConfigs(o.Config))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker on %s with %q: %w", o.Addr, o.Dir, err)
	}
	return &Broker{cluster: c}, nil
}

// Addr returns where the broker listens, host:port.
func (b *Broker) Addr() string { return strings.Join(b.cluster.ListenAddrs(), ",") }

// Cluster returns the cluster itself, for tests that inject faults.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close stops the broker and writes what is due.
func (b *Broker) Close() { b.cluster.Close() }
