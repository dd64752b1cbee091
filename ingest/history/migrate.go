package history

import (
	"context"
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// The migrations, one file each: NNNN_name.sql, statements parted by ";\n".
// They are numbered from 1 without a gap and never changed once released;
// whatever fails half-way must be able to run again.
//
//go:embed migrations/sqlite/*.sql migrations/clickhouse/*.sql
var migrationFiles embed.FS

// A migration is one step of a schema.
type migration struct {
	version    int
	name       string // the file's, without the extension
	statements []string
}

// migrations returns the migrations of a store, ascending.
func migrations(store string) []migration {
	dir := "migrations/" + store
	files, err := migrationFiles.ReadDir(dir)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var list []migration
	for i, f := range files {
		text, err := migrationFiles.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			panic("BUG: " + err.Error())
		}
		number, _, _ := strings.Cut(f.Name(), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			panic("BUG: migration " + f.Name() + " is not the next")
		}
		m := migration{version: i + 1, name: strings.TrimSuffix(f.Name(), ".sql")}
		for s := range strings.SplitSeq(string(text), ";\n") {
			if s = strings.TrimSpace(s); s != "" {
				m.statements = append(m.statements, s)
			}
		}
		list = append(list, m)
	}
	return list
}

// A schema is what migrating needs of a store.
type schema interface {
	// begin makes the table of migrations and returns the version of the last
	// one applied, 0 where there is none.
	begin(ctx context.Context) (version int, err error)
	// apply runs a migration and notes it.
	apply(ctx context.Context, m *migration) error
}

// migrate applies the migrations of list that are not yet applied.
func migrate(ctx context.Context, s schema, list []migration, where string) ([]string, error) {
	version, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the schema of %s: %w", where, err)
	}
	if version > len(list) {
		return nil, checkVersion(version, len(list), where)
	}
	var applied []string
	for i := version; i < len(list); i++ {
		if err := s.apply(ctx, &list[i]); err != nil {
			return applied, fmt.Errorf("migrate %s to %s: %w", where, list[i].name, err)
		}
		applied = append(applied, list[i].name)
	}
	return applied, nil
}

// pending returns the names of the migrations of list that a schema of some version lacks.
func pending(version int, list []migration, where string) (names []string, err error) {
	if version > len(list) {
		return nil, checkVersion(version, len(list), where)
	}
	for _, m := range list[version:] {
		names = append(names, m.name)
	}
	return names, nil
}

// checkVersion refuses a schema that is not the one this weir knows.
func checkVersion(version, known int, where string) error {
	switch {
	case version > known:
		return fmt.Errorf("%s has schema version %d, this weir knows %d: %w", where, version, known, ErrNewer)
	case version == 0:
		return fmt.Errorf("%s: %w", where, ErrNone)
	case version < known:
		return fmt.Errorf("%s has schema version %d, this weir needs %d: %w", where, version, known, ErrOlder)
	}
	return nil
}
