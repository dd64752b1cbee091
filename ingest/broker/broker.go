package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
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
type Broker struct {
	cluster  *kfake.Cluster
	listener *listener
	lock     *os.File // held while the data folder is in use; nil without one
}

// The errors of a broker that cannot start; compare with errors.Is.
var (
	ErrLocked  = errors.New("another process has the broker's data folder open")
	ErrInUse   = errors.New("another process listens on the address: choose another")
	ErrDamaged = errors.New("the broker's data folder is damaged: restore it from a copy, or move it away to begin anew")
)

// Start starts a broker; it serves when Start returns.
func Start(o Options) (*Broker, error) {
	b := &Broker{}
	if o.Dir != "" {
		if err := b.open(o.Dir); err != nil {
			return nil, err
		}
	}
	if err := b.start(o); err != nil {
		b.unlock()
		return nil, err
	}
	return b, nil
}

// open makes the data folder where it is not there, and locks it.
func (b *Broker) open(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the broker's folder: %w", err)
	}
	var err error
	if b.lock, err = lock(dir); err != nil {
		return err
	}
	if err := check(dir); err != nil {
		b.unlock()
		return fmt.Errorf("check the broker's folder: %w", err)
	}
	return nil
}

func (b *Broker) start(o Options) error {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	tcp, err := net.Listen("tcp", o.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w", o.Addr, ErrInUse)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Addr, err)
	}
	b.listener = &listener{Listener: tcp, open: make(map[net.Conn]struct{})}
	b.cluster, err = kfake.NewCluster(b.options(o)...)
	if err != nil {
		_ = tcp.Close()
		if o.Dir != "" {
			return fmt.Errorf("load %s: %w: %w", o.Dir, ErrDamaged, err)
		}
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	return nil
}

func (b *Broker) options(o Options) []kfake.Opt {
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.ClusterID("weir"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return b.listener, nil }),
	}
	if o.Dir != "" {
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
	return opts
}

// Addr returns where the broker listens, host:port.
func (b *Broker) Addr() string { return strings.Join(b.cluster.ListenAddrs(), ",") }

// Cluster returns the cluster itself, for tests that inject faults.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close stops the broker and writes what is due. No request is answered after
// it has returned. It may be called again.
func (b *Broker) Close() {
	b.cluster.Close()
	b.listener.closeAll()
	b.unlock()
}

func (b *Broker) unlock() {
	if b.lock != nil {
		_ = b.lock.Close() // which gives the lock back
		b.lock = nil
	}
}
