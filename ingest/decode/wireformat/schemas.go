package wireformat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Options say where schemas come from.
type Options struct {
	URLs           []string // of the registry's copies, http or https
	User, Password string   // empty: the registry asks for none
	TLS            *tls.Config
	Format         Format // Avro or Protobuf
	Now            func() time.Time
	Log            *slog.Logger // is told of every schema, once
}

// unknownFor is how long an id is unknown that the registry did not know: copies
// of a registry lag by less, and a flood of such records asks it seldom.
const unknownFor = 5 * time.Second

// unknownMax bounds the unknown ids that are remembered.
const unknownMax = 1024

// Schemas are a registry's schemas of one format, read when they are needed and
// kept for ever.
type Schemas struct {
	o      Options
	copies []*sr.Client // of the registry

	mu      sync.Mutex // held while the registry is asked: others would ask the same
	known   map[uint32]*schema
	unknown map[uint32]time.Time // when it was so
}

// schema is a parsed schema; neither is set where it cannot be used.
type schema struct {
	avro *avroSchema
	file protoreflect.FileDescriptor
}

// NewSchemas returns the schemas of a registry, which it does not connect to yet.
func NewSchemas(o Options) (*Schemas, error) {
	if len(o.URLs) == 0 || o.Format == JSON {
		panic("BUG: schemas of no registry, or of JSON")
	}
	opts := []sr.ClientOpt{sr.UserAgent("weir")}
	if o.User != "" {
		opts = append(opts, sr.BasicAuth(o.User, o.Password))
	}
	if o.TLS != nil {
		opts = append(opts, sr.DialTLSConfig(o.TLS))
	}
	s := &Schemas{o: o, known: make(map[uint32]*schema), unknown: make(map[uint32]time.Time)}
	for _, url := range o.URLs {
		c, err := sr.NewClient(append(opts[:len(opts):len(opts)], sr.URLs(url))...)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRegistry, err)
		}
		s.copies = append(s.copies, c)
	}
	return s, nil
}

// Check asks every copy of the registry whether it is there, lets this client in,
// and has schemas of the format.
func (s *Schemas) Check(ctx context.Context) error {
	var errs []error
	for i, c := range s.copies {
		types, err := c.SupportedTypes(ctx)
		switch {
		case err != nil:
			errs = append(errs, registryError(err))
		case !slices.Contains(types, s.kind()):
			errs = append(errs, fmt.Errorf("%w: %s has no schemas of %s, only of %v", ErrRegistry, s.o.URLs[i], s.o.Format, types))
		}
	}
	return errors.Join(errs...)
}

// ErrRegistry is wrapped by the errors of a registry that gave no answer, or one
// that says nothing of a schema.
var ErrRegistry = errors.New("schema registry")

// ErrDenied is wrapped by those of a registry that does not let this client in.
var ErrDenied = errors.New("it does not let this client in")

// registryError says what the registry answered, which its client's errors do not.
// Of an answer that is no registry's, such as a page of a proxy's, it says the
// status alone.
func registryError(err error) error {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		return fmt.Errorf("%w: %s: status %d: %w", ErrRegistry, answer.URL, answer.StatusCode, ErrDenied)
	}
	text := answer.Message
	if text == "" || len(answer.Raw) == 0 { // the client then speaks of none
		text = http.StatusText(answer.StatusCode)
	}
	return fmt.Errorf("%w: %s: status %d: %s", ErrRegistry, answer.URL, answer.StatusCode, text)
}

func (s *Schemas) kind() sr.SchemaType {
	if s.o.Format == Avro {
		return sr.TypeAvro
	}
	return sr.TypeProtobuf
}

// get returns the schema of an id, nil where the registry does not know it. An
// error says that the registry gave no answer.
func (s *Schemas) get(ctx context.Context, id uint32) (*schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[id]; known != nil {
		return known, nil
	}
	now := s.o.Now()
	if since, ok := s.unknown[id]; ok && now.Sub(since) < unknownFor {
		return nil, nil
	}
	got, err := s.ask(ctx, id)
	switch {
	case unknown(err):
		if len(s.unknown) >= unknownMax {
			clear(s.unknown)
		}
		if _, again := s.unknown[id]; !again {
			s.o.Log.Warn("schema is unknown", "id", id, "cause", registryError(err))
		}
		s.unknown[id] = now
		return nil, nil
	case err != nil:
		return nil, registryError(err)
	}
	delete(s.unknown, id)
	s.known[id] = got
	return got, nil
}

// ask asks the registry's copies one after another until one gives the schema. That
// it is unknown says more than no answer, and less than a copy that knows it: copies
// lag.
func (s *Schemas) ask(ctx context.Context, id uint32) (*schema, error) {
	var failed error
	for _, c := range s.copies {
		got, err := s.read(ctx, c, id)
		if err == nil {
			return got, nil
		}
		if failed == nil || unknown(err) {
			failed = err
		}
	}
	return nil, failed
}

// unknown reports whether an error is the registry's answer that it has no such
// schema, or none that the schema refers to. Any other 404 is of something else: of
// a wrong address, say.
func unknown(err error) bool {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.ErrorCode {
	case sr.ErrSubjectNotFound.Code, sr.ErrVersionNotFound.Code, sr.ErrSchemaNotFound.Code:
		return true
	}
	return false
}

// read gets a schema and what it refers to from a copy, and parses it. One that cannot be
// parsed stays so: what an id stands for never changes.
func (s *Schemas) read(ctx context.Context, c *sr.Client, id uint32) (*schema, error) {
	ctx = sr.WithParams(ctx, sr.ShowDeleted) // records outlive the schemas' deletion
	main, err := c.SchemaByID(ctx, int(id))
	if err != nil {
		return nil, err
	}
	refs := &references{client: c, texts: make(map[string]string)}
	if err := refs.read(ctx, main.References); err != nil {
		return nil, err
	}
	got := &schema{}
	switch {
	case main.Type != s.kind():
		err = fmt.Errorf("a schema of %s, not of %s", main.Type, s.kind())
	case s.o.Format == Avro:
		got.avro, err = parseAvro(main.Schema, refs.order)
	default:
		got.file, err = parseProto(ctx, main.Schema, refs.texts)
	}
	if err != nil {
		if ctx.Err() != nil { // the schema may be fine
			return nil, ctx.Err()
		}
		s.o.Log.Error("schema cannot be used: its records are rejected", "id", id, "cause", err)
		return &schema{}, nil
	}
	s.o.Log.Info("schema read", "id", id, "format", s.o.Format.String())
	return got, nil
}

// references are the schemas that one refers to, and those that they do.
type references struct {
	client *sr.Client
	texts  map[string]string // by the name that refers to them
	order  []string          // what is referred to before what refers to it
}

func (r *references) read(ctx context.Context, list []sr.SchemaReference) error {
	for _, ref := range list {
		if _, done := r.texts[ref.Name]; done {
			continue
		}
		s, err := r.client.SchemaByVersion(ctx, ref.Subject, ref.Version)
		if err != nil {
			return err
		}
		r.texts[ref.Name] = s.Schema.Schema // before those inside, should they lead back
		if err := r.read(ctx, s.References); err != nil {
			return err
		}
		r.order = append(r.order, s.Schema.Schema)
	}
	return nil
}
