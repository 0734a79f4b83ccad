package guest

import (
	"bytes"
	"context"
	"log/slog"
)

// logHandler hands each record to the runner as one line of JSON.
type logHandler struct {
	slog.Handler
	line *bytes.Buffer
	send func(slog.Level, []byte)
}

func newLogHandler(send func(slog.Level, []byte)) *logHandler {
	line := &bytes.Buffer{}
	return &logHandler{slog.NewJSONHandler(line, &slog.HandlerOptions{Level: slog.LevelDebug}), line, send}
}

// Handle needs no lock: a guest has one thread, and nothing here waits.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	h.send(r.Level, bytes.TrimSuffix(h.line.Bytes(), []byte{'\n'}))
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.Handler.WithAttrs(attrs), h.line, h.send}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.Handler.WithGroup(name), h.line, h.send}
}
