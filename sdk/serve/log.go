//go:build !wasip1

package serve

import (
	"log/slog"
	"os"
)

// jsonLog writes lines that the host understands: JSON with time, level and msg. The host chooses the level.
func jsonLog() *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
