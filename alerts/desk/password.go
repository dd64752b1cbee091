package desk

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what one try of a password costs, with argon2id (RFC 9106).
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// DefaultCost is the second of the choices that RFC 9106 recommends. Less memory
// makes guessing on graphics cards cheap; more of it, and a desk that comes to work at
// nine waits for its turn.
var DefaultCost = Cost{MemoryKiB: 64 << 10, Passes: 3, Lanes: 4}

// The bounds of a cost that is read from the file: a hash that somebody changed
// there must not take the machine's memory.
const (
	memoryMaxKiB = 1 << 20
	passesMax    = 64
)

func (c Cost) check() error {
	if c.Passes < 1 || c.Passes > passesMax || c.Lanes < 1 || c.MemoryKiB < 8*uint32(c.Lanes) || c.MemoryKiB > memoryMaxKiB {
		return fmt.Errorf("argon2id with %d KiB, %d passes and %d lanes is out of bounds", c.MemoryKiB, c.Passes, c.Lanes)
	}
	return nil
}

const (
	saltBytes = 16
	hashBytes = 32
)

// A passwordHash is how a password is kept.
type passwordHash struct {
	cost Cost
	salt [saltBytes]byte
	sum  [hashBytes]byte
}

func newHash(password string, c Cost) (h passwordHash) {
	h.cost = c
	_, _ = rand.Read(h.salt[:]) // it never fails, see crypto/rand
	h.sum = h.of(password)
	return h
}

func (h *passwordHash) of(password string) (sum [hashBytes]byte) {
	copy(sum[:], argon2.IDKey([]byte(password), h.salt[:], h.cost.Passes, h.cost.MemoryKiB, h.cost.Lanes, hashBytes))
	return sum
}

// is reports whether it is the hash of a password, in a time that does not depend on
// how much of it is right.
func (h *passwordHash) is(password string) bool {
	sum := h.of(password)
	return subtle.ConstantTimeCompare(sum[:], h.sum[:]) == 1
}

var base64Raw = base64.RawStdEncoding.Strict()

// String returns the form that other programs know too (the PHC string).
func (h *passwordHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, h.cost.Lanes,
		base64Raw.EncodeToString(h.salt[:]), base64Raw.EncodeToString(h.sum[:]))
}

// parseHash reads the form that String writes, and no other.
func parseHash(text string) (h passwordHash, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return h, errors.New("not a hash of argon2id")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.cost.MemoryKiB, &h.cost.Passes, &h.cost.Lanes); err != nil {
		return h, fmt.Errorf("the cost of a hash: %w", err)
	}
	if err := h.cost.check(); err != nil {
		return h, err
	}
	salt, err1 := base64Raw.DecodeString(parts[4])
	sum, err2 := base64Raw.DecodeString(parts[5])
	if err := errors.Join(err1, err2); err != nil {
		return h, fmt.Errorf("salt or sum of a hash: %w", err)
	}
	copy(h.salt[:], salt)
	copy(h.sum[:], sum)
	if h.String() != text {
		return h, errors.New("not a hash of argon2id as it is written here")
	}
	return h, nil
}
