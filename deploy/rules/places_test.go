package rules

import (
	"database/sql"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	_ "modernc.org/sqlite" // of the desk's view
)

// A disk is a small file system of its own. Who may not mount one has none, and the rule
// about it is left to promtool.
type disk struct {
	t    *testing.T
	file string // that fills it; empty where there is none
}

const diskBytes = 16 << 20

func newDisk(t *testing.T, folder string) *disk {
	t.Helper()
	err := os.Mkdir(folder, 0o700)
	if err == nil {
		err = syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=16m,mode=0700")
	}
	if err != nil {
		byPromtool["WeirDiskFilling"] = "no file system can be mounted here: " + err.Error()
		return &disk{t: t}
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	return &disk{t, filepath.Join(folder, "filled")}
}

// alert is what fires once it is filled, or what fires anyway where there is no disk.
func (d *disk) alert() string {
	if d.file == "" {
		return "WeirGarbage"
	}
	return "WeirDiskFilling"
}

func (d *disk) fill() {
	d.t.Helper()
	if d.file == "" {
		return
	}
	if err := os.WriteFile(d.file, make([]byte, diskBytes*19/20), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) empty() {
	d.t.Helper()
	if d.file == "" {
		return
	}
	if err := os.Remove(d.file); err != nil {
		d.t.Fatal(err)
	}
}

// hangs has nothing be written into a file of the desk's until it is released, as where the
// disk does not answer.
func (w *world) hangs(name string) (release func()) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "desk", name)+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		w.t.Fatal(err)
	}
	tx, err := db.BeginTx(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		_ = tx.Rollback()
		_ = db.Close()
	}
}
