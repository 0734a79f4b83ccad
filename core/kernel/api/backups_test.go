package api

import (
	"context"
	"os"

	"github.com/picketwatch/picket/core/kernel/store"
)

// fakeBackups keeps none; core tests the real ones.
type fakeBackups struct{}

func (fakeBackups) Start(_ context.Context, o BackupOrder, _ bool, _ func(Backup, error)) (Backup, error) {
	return Backup{Name: "b", Mode: o.Mode, State: BackupRunning}, nil
}

func (fakeBackups) List() ([]Backup, string, error) { return nil, "", nil }
func (fakeBackups) Open(string) (*os.File, error)   { return nil, store.ErrNotFound }
func (fakeBackups) Delete(string) error             { return store.ErrNotFound }

// fakeRetention keeps everything.
type fakeRetention struct{}

func (fakeRetention) List() []Kept                                    { return []Kept{} }
func (fakeRetention) Set(context.Context, map[string]int) error       { return nil }
func (fakeRetention) Cleanup(context.Context) (map[string]int, error) { return map[string]int{}, nil }
