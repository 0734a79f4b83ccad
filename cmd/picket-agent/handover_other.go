//go:build !unix

package main

import (
	"context"
	"log/slog"
)

// restarts: a program in use cannot be replaced here; whoever keeps the agent running installs the new one over it.
const restarts = false

func base() string { return "" }

func onTrial() bool { return false }

func handOver(context.Context, string, int, *slog.Logger) (bool, error) { return false, nil }

func begin(why error, _ int) error { return why }
