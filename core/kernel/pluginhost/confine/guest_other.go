//go:build !linux

package confine

import (
	"context"
	"os"

	"github.com/picketwatch/picket/registry/policy"
)

// Guest names a guest and where its machine code is kept.
type Guest struct {
	File    *os.File
	Digest  string
	Cache   string
	Key     []byte
	Helpers string
	Ceiling *policy.Ceiling

	Most     Level
	AnyLevel bool
}

// CacheDir is the folder to give to picket-wasm as its cache.
func (g Guest) CacheDir() string { return g.Cache }

// Entry is the folder with the guest's machine code.
func (g Guest) Entry() string { return g.Cache }

// Compile fails, as Command does.
func (Guest) Compile(context.Context) error { return errElsewhere }
