package check

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/picketwatch/picket/sdk"
)

// Gate stands between a plugin and a sink: it checks and counts what is emitted, lets any goroutine of the plugin emit,
// and shuts when the call ends.
type Gate[T any] struct {
	ctx   context.Context
	max   int
	what  string
	check func(*T) error
	emit  func(T) error

	mu      sync.Mutex // guards all below, and emit
	count   int
	refused int
	first   error // why the first one was refused
	closed  bool
}

// NewGate returns an open gate that lets at most limit values pass.
func NewGate[T any](ctx context.Context, limit int, what string, check func(*T) error, emit func(T) error) *Gate[T] {
	return &Gate[T]{ctx: ctx, max: limit, what: what, check: check, emit: emit}
}

// Put passes v on. One that is not valid is left out and counted: the others are still worth having.
func (g *Gate[T]) Put(v T) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("the call that these %s belong to has ended", g.what)
	}
	if err := g.ctx.Err(); err != nil {
		return err
	}
	if g.count >= g.max {
		err := fmt.Errorf("more than %d %s in one call", g.max, g.what)
		g.refuse(err)
		return err
	}
	if err := g.check(&v); err != nil {
		g.refuse(err)
		return nil
	}
	g.count++
	return g.emit(v)
}

func (g *Gate[T]) refuse(err error) {
	if g.refused++; g.first == nil {
		g.first = err
	}
}

// Result adds to the error of the call that something was refused.
func (g *Gate[T]) Result(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused == 0 {
		return err
	}
	return errors.Join(err, sdk.Errorf(sdk.Internal, "%d %s were refused, the first because: %w", g.refused, g.what, g.first))
}

// Close shuts the gate; what a goroutine of the plugin emits after it is refused.
func (g *Gate[T]) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
