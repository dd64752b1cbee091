package ingest

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// The errors of snapshots; each is why one was passed over.
var (
	ErrSnapshotDamaged = errors.New("snapshot is damaged")
	ErrSnapshotForeign = errors.New("snapshot is of another spec, key or engine")
	ErrSnapshotOffPath = errors.New("snapshot's position is not on the ledger's chain")
)

const (
	snapshotMagic  = "weirsnap1\n"
	snapshotSuffix = ".weirsnap"
	// snapshotsKept is how many are left after a new one: the one before the
	// newest is used where the newest is damaged.
	snapshotsKept = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshotHeader is what a snapshot holds besides the engine's parts.
type snapshotHeader struct {
	Spec, Engine string // hashes, hex
	KeyCheck     uint64 // tells the deployment's key without telling it
	Chain        schemas.Anchor
	Genesis      bool
	TopicID      [16]byte
	TokenKey     uint64   `json:",omitempty"` // of the ledger's tokens: during a change the one before
	Before       [32]byte `json:",omitzero"`
	Champion     [32]byte
	Challenger   [32]byte `json:",omitzero"`
	Share        float32  `json:",omitzero"`
	AlertsMark   int64
	DeadMark     int64
	Progress     [numClasses][]Progress
	Others       []Other `json:",omitempty"`
	Counts       Counts
	Rates        []byte
}

// onAllCores runs one worker a core, deals out the parts to them, and waits.
func onAllCores(worker func(next func() (part int, ok bool))) {
	var taken atomic.Int32
	next := func() (int, bool) {
		p := int(taken.Add(1)) - 1
		return p, p < features.Parts
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), features.Parts) {
		wg.Go(func() { worker(next) })
	}
	wg.Wait()
}

// writeSnapshot writes the file of a snapshot into dir: the header, then the parts
// that come until their channel is closed, whose memory it gives to free where that has
// room. The file is written whole, synced, and renamed into place; older ones beyond a
// few are removed. It takes all parts, also where it fails, and returns the file's name
// and size.
func writeSnapshot(dir string, at int64, header []byte, parts <-chan []byte, free chan<- []byte) (name string, size int64, err error) {
	defer func() {
		for range parts { // nobody waits for what is not written
		}
	}()
	// A process that was killed left what it was writing; the folder is this one's.
	left, _ := filepath.Glob(filepath.Join(dir, "writing-*"))
	for _, old := range left {
		_ = os.Remove(old)
	}
	f, err := os.CreateTemp(dir, "writing-*")
	if err != nil {
		return "", 0, fmt.Errorf("create snapshot: %w", err)
	}
	defer os.Remove(f.Name()) // nothing is there any more once it was renamed
	w := bufio.NewWriterSize(f, 1<<20)
	err = writeHeader(w, header)
	size = int64(len(snapshotMagic) + blockHead + len(header))
	for p := range parts {
		if err == nil {
			err = writeBlock(w, p)
		}
		size += int64(blockHead + len(p))
		select {
		case free <- p:
		default:
		}
	}
	err = errors.Join(err, w.Flush(), f.Sync(), f.Close())
	if err != nil {
		return "", 0, fmt.Errorf("write snapshot at ledger offset %d: %w", at, err)
	}
	name = filepath.Join(dir, fmt.Sprintf("%020d%s", at, snapshotSuffix))
	if err := os.Rename(f.Name(), name); err != nil {
		return "", 0, fmt.Errorf("rename snapshot: %w", err)
	}
	if err := syncFolder(dir); err != nil {
		return "", 0, fmt.Errorf("sync snapshot folder: %w", err)
	}
	names, err := Snapshots(dir)
	for i, old := range names {
		if i >= snapshotsKept {
			err = errors.Join(err, os.Remove(old))
		}
	}
	return name, size, err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func headerOf(s *State, keyCheck uint64) ([]byte, error) {
	return json.Marshal(snapshotHeader{
		Spec: hex32(s.Spec.Hash), Engine: hex32(EngineHash), KeyCheck: keyCheck,
		Chain: s.Chain, Genesis: s.Genesis, TopicID: s.TopicID, TokenKey: s.TokenKey, Before: s.Before, Champion: s.Champion, Challenger: s.Challenger, Share: s.Share,
		AlertsMark: s.AlertsMark, DeadMark: s.DeadMark, Progress: s.Progress, Others: s.Others, Counts: s.Counts,
		Rates: s.Rates.AppendTo(nil),
	})
}

func writeHeader(w io.Writer, header []byte) error {
	if _, err := io.WriteString(w, snapshotMagic); err != nil {
		return err
	}
	return writeBlock(w, header)
}

// writeState writes what a snapshot's file holds, with one part in memory.
func writeState(w io.Writer, s *State, keyCheck uint64) error {
	header, err := headerOf(s, keyCheck)
	if err != nil {
		return err
	}
	if err := writeHeader(w, header); err != nil {
		return err
	}
	var part []byte
	for p := range features.Parts {
		part = s.Engine.AppendPart(part[:0], p)
		if err := writeBlock(w, part); err != nil {
			return err
		}
	}
	return nil
}

// WriteSnapshot writes a state into a folder as a node does, and returns the file's name.
// Nobody may change the state meanwhile.
func WriteSnapshot(dir string, s *State, keyCheck uint64) (name string, err error) {
	header, err := headerOf(s, keyCheck)
	if err != nil {
		return "", err
	}
	parts, free := make(chan []byte), make(chan []byte, partsSpare)
	go func() { // ends with the parts, all of which writeSnapshot takes
		defer close(parts)
		for p := range features.Parts {
			var buf []byte
			select {
			case buf = <-free:
			default:
			}
			parts <- s.Engine.AppendPart(buf[:0], p)
		}
	}()
	name, _, err = writeSnapshot(dir, s.Chain.Offset, header, parts, free)
	return name, err
}

// blockHead is the length and the checksum before a block's bytes.
const blockHead = 12

// writeBlock writes length, checksum and bytes.
func writeBlock(w io.Writer, b []byte) error {
	var head [blockHead]byte
	binary.BigEndian.PutUint64(head[:], uint64(len(b)))
	binary.BigEndian.PutUint32(head[8:], crc32.Checksum(b, castagnoli))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// readBlock reads a block into buf, and its checksum, which [checked] wants.
func readBlock(r io.Reader, limit int64, buf []byte) ([]byte, uint32, error) {
	var head [blockHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return buf, 0, fmt.Errorf("%w: %w", ErrSnapshotDamaged, err)
	}
	n := binary.BigEndian.Uint64(head[:])
	if n > uint64(limit) {
		return buf, 0, fmt.Errorf("%w: a block of %d bytes in a file of %d", ErrSnapshotDamaged, n, limit)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return buf, 0, fmt.Errorf("%w: %w", ErrSnapshotDamaged, err)
	}
	return buf, binary.BigEndian.Uint32(head[8:]), nil
}

func checked(b []byte, sum uint32) error {
	if crc32.Checksum(b, castagnoli) != sum {
		return fmt.Errorf("%w: checksum does not match", ErrSnapshotDamaged)
	}
	return nil
}

// Snapshots lists the snapshots in dir, newest first. A folder that does not
// exist has none.
func Snapshots(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), snapshotSuffix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// oldestSnapshot returns when the oldest snapshot in dir was written, zero where
// there is none.
func oldestSnapshot(dir string) (time.Time, error) {
	if dir == "" {
		return time.Time{}, nil
	}
	names, err := Snapshots(dir)
	if err != nil || len(names) == 0 {
		return time.Time{}, err
	}
	info, err := os.Stat(names[len(names)-1])
	if errors.Is(err, os.ErrNotExist) {
		return time.Time{}, nil // another run of this folder's has just deleted it
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("look at a snapshot: %w", err)
	}
	return info.ModTime(), nil
}

// ReadSnapshot reads one snapshot. The error is ErrSnapshotDamaged or
// ErrSnapshotForeign, wrapped, or that of the file system.
func ReadSnapshot(name string, sp *spec.Spec, o features.Options, keyCheck uint64) (*State, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	r := bufio.NewReaderSize(f, 1<<20)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != snapshotMagic {
		return nil, fmt.Errorf("read snapshot %s: %w: not a snapshot of this version", filepath.Base(name), ErrSnapshotDamaged)
	}
	s, err := readState(r, info.Size(), sp, o, keyCheck)
	if err != nil {
		return nil, fmt.Errorf("read snapshot %s: %w", filepath.Base(name), err)
	}
	return s, nil
}

func readState(r io.Reader, size int64, sp *spec.Spec, o features.Options, keyCheck uint64) (*State, error) {
	block, sum, err := readBlock(r, size, nil)
	if err == nil {
		err = checked(block, sum)
	}
	if err != nil {
		return nil, err
	}
	var h snapshotHeader
	if err := json.Unmarshal(block, &h); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrSnapshotDamaged, err)
	}
	if h.Spec != hex32(sp.Hash) || h.Engine != hex32(EngineHash) || h.KeyCheck != keyCheck {
		return nil, ErrSnapshotForeign
	}
	s := NewState(sp, o)
	s.Chain, s.Genesis, s.TopicID, s.TokenKey, s.Champion, s.Challenger = h.Chain, h.Genesis, h.TopicID, h.TokenKey, h.Champion, h.Challenger
	s.Share, s.Before, s.Others = h.Share, h.Before, h.Others
	s.AlertsMark, s.DeadMark, s.Progress, s.Counts = h.AlertsMark, h.DeadMark, h.Progress, h.Counts
	if err := s.Rates.Load(h.Rates); err != nil {
		return nil, fmt.Errorf("%w: rates: %w", ErrSnapshotDamaged, err)
	}
	if err := readParts(r, size, s.Engine); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows its last part", ErrSnapshotDamaged)
	}
	return s, nil
}

// readParts fills an engine on all cores. The file is read in its order, a block
// by whoever is free; sums and loading, which take longer, go side by side.
func readParts(r io.Reader, size int64, e *features.Engine) error {
	var mu sync.Mutex
	var bad error // what was wrong first; of mu, as r is
	onAllCores(func(next func() (int, bool)) {
		l := e.NewLoader()
		var block []byte
		for {
			mu.Lock()
			p, ok := next()
			if !ok || bad != nil {
				mu.Unlock()
				return
			}
			var sum uint32
			var err error
			block, sum, err = readBlock(r, size, block)
			bad = err
			mu.Unlock()
			if err == nil {
				err = checked(block, sum)
			}
			if err == nil {
				if err = l.Load(p, block); err != nil {
					err = fmt.Errorf("%w: part %d: %w", ErrSnapshotDamaged, p, err)
				}
			}
			if err != nil {
				mu.Lock()
				bad = err
				mu.Unlock()
				return
			}
		}
	})
	return bad
}

// EngineHash names the arithmetic of features, decoding and the ledger's
// layout. It changes whenever the same records would give other bits.
var EngineHash = sha256.Sum256([]byte("weir engine 1"))

func hex32(h [32]byte) string { return fmt.Sprintf("%x", h[:]) }

// StateHash returns the SHA-256 of the state's canonical bytes: two states that
// fold the same ledger to the same offset have the same.
func StateHash(s *State) [32]byte {
	h := sha256.New()
	// A hash never fails to be written to.
	_ = writeState(h, s, 0)
	return [32]byte(h.Sum(nil))
}
