package scoring

import "errors"

// Why a model is refused; test with errors.Is.
var (
	ErrShape     = errors.New("tables do not fit together")
	ErrNotFinite = errors.New("number is not finite")
	ErrEncoding  = errors.New("encoding is not sound")
	ErrUnbounded = errors.New("sums can overflow")
)

// ErrMatrix is a Scorer's: the matrix does not fit the model, or out is too
// short. It is a mistake of the caller.
var ErrMatrix = errors.New("matrix does not fit")

// Why a bundle is refused. Each is found before anything that comes after it in
// this list is looked at; test with errors.Is. A bundle whose model is refused
// gives the model's error.
var (
	ErrTooLarge      = errors.New("bundle is larger than 8 MiB")
	ErrTruncated     = errors.New("bundle is cut short")
	ErrMagic         = errors.New("not a bundle")
	ErrVersion       = errors.New("bundle is of an unknown version")
	ErrTrailing      = errors.New("bytes after the bundle")
	ErrHash          = errors.New("content does not have the hash that the bundle names")
	ErrUnsigned      = errors.New("bundle is not signed")
	ErrUnknownSigner = errors.New("bundle is signed by an unknown key")
	ErrSignature     = errors.New("signature is wrong")
	ErrManifest      = errors.New("manifest cannot be read")
	ErrSections      = errors.New("sections do not fit the manifest")
	ErrSpec          = errors.New("bundle has no feature spec")
	ErrFeatures      = errors.New("feature names do not fit the model")
	ErrCalibration   = errors.New("calibration is not sound")
	ErrRankKey       = errors.New("rank key is unknown")
	ErrThreshold     = errors.New("operating point is not sound")
	ErrExploration   = errors.New("exploration is not sound")
	ErrFacts         = errors.New("training facts are not a JSON object")
	ErrBackground    = errors.New("background rows are not sound")
	ErrNoSelfTest    = errors.New("bundle has too few self-test rows")
	ErrProfile       = errors.New("profile of the training's days is not sound")
)

// Why a sound bundle is refused where it is to serve.
var (
	ErrForeignSpec = errors.New("bundle was made for another feature spec")
	ErrSelfTest    = errors.New("self-test row scores other bits")
)
