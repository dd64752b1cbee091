//go:build !linux

package link

import (
	"os"
	"sync/atomic"
	"time"
)

// New returns ErrUnsupported.
func New(device int, half bool) (*Page, *os.File, error) { return nil, nil, ErrUnsupported }

// Open returns ErrUnsupported.
func Open(f *os.File) (*Page, error) { return nil, ErrUnsupported }

// Close does nothing: there is no page.
func (p *Page) Close() error { return nil }

// Wait returns the word: there is no other process to wait for.
func (w *Word) Wait(old uint32, spin, limit time.Duration) uint32 { return w.v.Load() }

func wake(v *atomic.Uint32) {}
