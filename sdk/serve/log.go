//go:build !wasip1

package serve

import (
	"log/slog"
	"os"
)

// jsonLog writes lines that the host understands: JSON with time, level and msg. The host chooses the level.
//
// It holds the stderr that the process was started with: go-plugin later replaces os.Stderr by a stream over gRPC,
// which loses what is written around a crash.
func jsonLog() *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
