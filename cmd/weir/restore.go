package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

var restoreCommand = &command{
	name: "restore", summary: "check a backup, and write what is in it into a data folder", json: true,
	about: `Reads all of a backup that weir backup wrote, and checks size and SHA-256 of every file,
before it writes the first one; then it writes them into the folder of --data, each whole
or not at all, for their owner alone. What is there already is not overwritten, and
then nothing is written; --force does. --dry-run checks and lists, and writes nothing.

Stop the roles of that folder first. Files that were elsewhere (the list says where) are
put back there by hand. Bundles go back into the topic of models by weir model promote
bundles/HASH.weir --key signing.key, in the order in which they are to serve.`,
	examples: []string{
		"weir restore --from weir.backup --passphrase-file passphrase --dry-run",
		"weir restore --from weir.backup --passphrase-file passphrase --data /var/lib/weir",
		"weir restore --from weir.tgz --data weir-data --force --json",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		r := &restoreRun{}
		fs.StringVar(&r.from, "from", "", "`FILE` that weir backup wrote")
		fs.StringVar(&r.data, "data", "weir-data", "`FOLDER` to write into")
		fs.BoolVar(&r.dryRun, "dry-run", false, "check it and list what is in it, and write nothing")
		fs.BoolVar(&r.force, "force", false, "overwrite what is there")
		r.seal.add(fs)
		return r.run
	},
}

// restoreRun is one run of the command.
type restoreRun struct {
	from, data    string
	seal          sealFlags
	dryRun, force bool
}

// nowhere takes what is only checked.
type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

func (r *restoreRun) run(_ context.Context, e *env, _ []string) error {
	if r.from == "" {
		return usagef("--from FILE names the backup")
	}
	passphrase, err := r.seal.read()
	if err != nil {
		return err
	}
	m, err := readArchive(r.from, passphrase, func(backupFile) (io.WriteCloser, error) { return nowhere{io.Discard}, nil })
	if err != nil {
		return fmt.Errorf("%s: %w", r.from, err)
	}
	there := r.there(m)
	if !r.dryRun {
		if len(there) > 0 && !r.force {
			return fmt.Errorf("nothing is written: %s there already in %s: %s; --force overwrites them",
				several(len(there), "file is", "files are"), r.data, strings.Join(there, ", "))
		}
		if err := r.write(passphrase); err != nil {
			return fmt.Errorf("restore into %s: %w", r.data, err)
		}
	}
	if !e.json {
		e.printf("made %s by weir %s\n", m.Made.Format("2006-01-02 15:04:05 MST"), m.Weir)
		for _, f := range m.Files {
			e.printf("%12s  %-20s  was %s\n", thousands(f.Size), f.Name, f.From)
		}
		for slot, s := range m.Slots {
			e.printf("%s was %s\n", slot, s.Bundle)
		}
		switch {
		case !r.dryRun:
			e.printf("restored into %s\n", r.data)
		case len(there) > 0:
			e.printf("all is well with it; nothing was written. There already in %s: %s\n", r.data, strings.Join(there, ", "))
		default:
			e.printf("all is well with it; nothing was written\n")
		}
	}
	return e.report(map[string]any{"from": r.from, "data": r.data, "written": !r.dryRun, "there": append([]string{}, there...), "made": m.Made, "files": m.Files, "slots": m.Slots})
}

// beside are files that SQLite keeps beside an open database: it would take what they
// say for a part of the one that is restored.
var beside = []string{"-wal", "-shm"}

// there lists what a restoring would overwrite.
func (r *restoreRun) there(m *manifest) (names []string) {
	for _, f := range m.Files {
		of := []string{f.Name}
		if path.Ext(f.Name) == ".db" {
			of = append(of, f.Name+beside[0], f.Name+beside[1])
		}
		for _, name := range of {
			if _, err := os.Lstat(filepath.Join(r.data, filepath.FromSlash(name))); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// write reads the backup once more, into files beside those that it is to make, and once
// all are there renames them. Nothing leads out of the folder, by whatever link.
func (r *restoreRun) write(passphrase string) (err error) {
	if err := os.MkdirAll(r.data, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(r.data)
	if err != nil {
		return err
	}
	defer root.Close()
	part := fmt.Sprintf(".part%d", os.Getpid())
	var made []string
	defer func() {
		for _, name := range made {
			_ = root.Remove(name + part) // those that were renamed are gone
		}
	}()
	if _, err = readArchive(r.from, passphrase, func(f backupFile) (io.WriteCloser, error) {
		if err := root.MkdirAll(path.Dir(f.Name), 0o700); err != nil {
			return nil, err
		}
		made = append(made, f.Name)
		w, err := root.OpenFile(f.Name+part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		return synced{w}, err
	}); err != nil {
		return err
	}
	for _, name := range made {
		if path.Ext(name) == ".db" {
			err = errors.Join(absent(root.Remove(name+beside[0])), absent(root.Remove(name+beside[1])))
		}
		if err == nil && r.force {
			err = root.Rename(name+part, name)
		} else if err == nil {
			err = root.Link(name+part, name) // which overwrites nothing, also what came since
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// absent forgives that a file is not there.
func absent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// synced is a file that is on the disk once it is closed.
type synced struct{ *os.File }

func (s synced) Close() error { return errors.Join(s.Sync(), s.File.Close()) }
