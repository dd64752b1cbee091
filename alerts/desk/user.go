package desk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Role is what somebody is at the desk.
type Role uint8

// The roles.
const (
	Analyst    Role = iota // works on alerts
	Supervisor             // assigns, approves, sees how the desk does
	ModelOwner             // says which model decides
	Auditor                // sees who saw and did what, and changes nothing
	NumRoles
)

var roleNames = [NumRoles]string{"analyst", "supervisor", "model-owner", "auditor"}

// roleWords are what pages call the roles.
var roleWords = [NumRoles]string{"analyst", "supervisor", "model owner", "auditor"}

func (r Role) String() string { return roleNames[r] }

// RoleSet is a set of roles.
type RoleSet uint8

// Roles makes a set.
func Roles(of ...Role) (s RoleSet) {
	for _, r := range of {
		s |= 1 << r
	}
	return s
}

// everyone is the set of all roles: whoever is logged in.
const everyone = RoleSet(1<<NumRoles - 1)

// ParseRoles reads names with commas between them.
func ParseRoles(text string) (s RoleSet, err error) {
	for name := range strings.SplitSeq(text, ",") {
		i := slices.Index(roleNames[:], strings.TrimSpace(name))
		if i < 0 {
			return 0, fmt.Errorf("%q is no role; the roles are %s", name, strings.Join(roleNames[:], ", "))
		}
		s |= 1 << i
	}
	return s, nil
}

// Any reports whether the sets have a role in common.
func (s RoleSet) Any(of RoleSet) bool { return s&of != 0 }

// Names returns the names of the roles, in their order.
func (s RoleSet) Names() []string { return s.pick(&roleNames) }

// Words returns what pages call the roles.
func (s RoleSet) Words() string { return strings.Join(s.pick(&roleWords), ", ") }

func (s RoleSet) String() string { return strings.Join(s.Names(), ",") }

func (s RoleSet) pick(of *[NumRoles]string) (list []string) {
	for r, name := range of {
		if s>>r&1 == 1 {
			list = append(list, name)
		}
	}
	return list
}

// User is an account.
type User struct {
	Name     string // as ParseName returns it
	Display  string // what pages call the person; never empty
	Roles    RoleSet
	Disabled bool
	// Issuer is the identity provider that vouches for the person, and Subject who it is
	// there; both are empty where a password lets the person in.
	Issuer, Subject string

	generation int64 // goes up when what let somebody in does so no more
}

// The bounds of what an account is given, in bytes.
const (
	nameMax     = 64
	displayMax  = 128
	passwordMin = 12 // characters
	passwordMax = 256
)

// ParseName returns the name of an account as it is kept: in small letters. A name
// is made of ASCII letters, digits and . _ - @, and begins with a letter or digit:
// none looks like another, and none can be taken for a flag, a path or markup.
func ParseName(text string) (string, error) {
	if text == "" || len(text) > nameMax {
		return "", fmt.Errorf("a name has 1 to %d characters, not %d", nameMax, len(text))
	}
	name := []byte(text)
	for i, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			name[i] = c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && strings.IndexByte("._-@", c) >= 0:
		default:
			return "", fmt.Errorf("%q is no name: letters a to z, digits, and behind the first one also . _ - @", text)
		}
	}
	return string(name), nil
}

// parseDisplay checks what pages are to call a person.
func parseDisplay(text string) error {
	if text == "" || len(text) > displayMax || !utf8.ValidString(text) {
		return fmt.Errorf("a display name has 1 to %d bytes of UTF-8", displayMax)
	}
	// Not printable are marks of direction too, by which a name reads as another.
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		return fmt.Errorf("the display name %q holds what cannot be seen", text)
	}
	if strings.TrimSpace(text) == "" {
		return errors.New("the display name is blank")
	}
	return nil
}

// parsePassword checks a new password. Length is what makes one hard to guess; rules
// about what it is made of make people write them down.
func parsePassword(name, password string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password) || strings.ContainsAny(password, "\r\n\x00"):
		return errors.New("the password is not one line of UTF-8")
	case n < passwordMin:
		return fmt.Errorf("the password has %d characters, at least %d are asked for", n, passwordMin)
	case len(password) > passwordMax:
		return fmt.Errorf("the password has %d bytes, at most %d are taken", len(password), passwordMax)
	case len(name) > 3 && strings.Contains(strings.ToLower(password), name) && n < len(name)+passwordMin/2:
		return errors.New("the password is the name and little more")
	}
	first, _ := utf8.DecodeRuneInString(password)
	if strings.Trim(password, string(first)) == "" {
		return errors.New("the password is one character, again and again")
	}
	return nil
}
