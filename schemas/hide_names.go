package schemas

import (
	"errors"
	"io/fs"
	"regexp"
)

// aPath is what is certainly the name of a file: words, with a slash or a dot.
var aPath = regexp.MustCompile(`^[\w-]*[./][\w./-]*$`)

// HideName returns the error of reading a file that is to hold a secret. Where there is no
// such file, what was given as its name may be the secret itself: it is not repeated unless
// it looks like a name.
func HideName(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && !aPath.MatchString(at.Path) {
		return at.Err
	}
	return err
}
