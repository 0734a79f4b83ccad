package runner

import (
	"context"
	"errors"
	"fmt"
)

// GuestError says that the bytes are no guest that this runner takes, whoever tries and however often.
type GuestError struct{ error }

func (e *GuestError) Unwrap() error { return e.error }

// maxMemory is what a guest can have at most.
const maxMemory = 4 << 30

// Compile puts the machine code of a guest into the cache and runs nothing of it.
func Compile(ctx context.Context, wasm []byte, cfg Config) error {
	if len(wasm) > MaxModule {
		return fmt.Errorf("a guest of %d bytes is larger than %d", len(wasm), MaxModule)
	}
	cfg.Memory = maxMemory // how much the guest gets is up to whoever runs it
	g := &Guest{cfg: cfg}
	compiled, err := g.compile(ctx, wasm)
	if err != nil {
		return err
	}
	if err = checkImports(compiled); err != nil {
		err = &GuestError{err}
	}
	if g.cfg.Cache == "" && cfg.Cache != "" {
		err = errors.Join(err, errors.New("the guest could not be kept; see above"))
	}
	return errors.Join(err, compiled.Close(ctx), g.runtime.Close(ctx), closeCache(ctx, g))
}

func closeCache(ctx context.Context, g *Guest) error {
	if g.cache == nil {
		return nil
	}
	return g.cache.Close(ctx)
}
