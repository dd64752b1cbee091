package broker

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// check looks for damage that kfake would mend by cutting the log: at the first
// record batch that it cannot read it throws away the rest of the file, which
// is right for a batch that was being written when the machine stopped, and
// loses what was acknowledged where the damage lies before other batches.
func check(dir string) error {
	partitions := filepath.Join(dir, "partitions")
	folders, err := os.ReadDir(partitions)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "meta.json")); err != nil && len(folders) > 0 {
		return fmt.Errorf("%w: there are partitions and no meta.json", ErrDamaged)
	}
	for _, f := range folders {
		if err := checkPartition(filepath.Join(partitions, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// checkPartition checks the segments of a partition, which are called by their
// first offset.
func checkPartition(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	var bases []int64
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	for i, base := range bases {
		name := filepath.Join(dir, fmt.Sprintf("%d.dat", base))
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read segment: %w", err)
		}
		bad := intact(b)
		if bad < len(b) && (i < len(bases)-1 || follows(b[bad+1:])) {
			return fmt.Errorf("%w: %s cannot be read at byte %d, and more of the log follows", ErrDamaged, name, bad)
		}
	}
	return nil
}

// The head of a record batch: base offset, length of what follows, leader
// epoch, format, checksum of what follows
// (kafka.apache.org/documentation/#recordbatch).
const (
	headBytes  = 61
	lengthAt   = 8
	lengthEnds = 12
	formatAt   = 16
	sumAt      = 17
	sumEnds    = 21
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// intact returns where the first batch that cannot be read begins.
func intact(b []byte) int {
	at := 0
	for {
		n := batch(b[at:])
		if n == 0 {
			return at
		}
		at += n
	}
}

// batch returns the size of the batch that b begins with, 0 where it does not
// begin with a whole one.
func batch(b []byte) int {
	if len(b) < headBytes || b[formatAt] != 2 {
		return 0
	}
	size := lengthEnds + int64(binary.BigEndian.Uint32(b[lengthAt:]))
	if size < headBytes || size > int64(len(b)) {
		return 0
	}
	if crc32.Checksum(b[sumEnds:size], castagnoli) != binary.BigEndian.Uint32(b[sumAt:]) {
		return 0
	}
	return int(size)
}

// followsMax bounds how many places of a damaged segment are looked at closely.
const followsMax = 10_000

// follows reports whether a whole batch begins anywhere in b. The damage may be
// in a length, so where the next one begins is not known.
func follows(b []byte) bool {
	for tries := 0; len(b) >= headBytes && tries < followsMax; b = b[1:] {
		if b[formatAt] != 2 || int64(binary.BigEndian.Uint32(b[lengthAt:]))+lengthEnds > int64(len(b)) {
			continue
		}
		tries++
		if batch(b) > 0 {
			return true
		}
	}
	return false
}
