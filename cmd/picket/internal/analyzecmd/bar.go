package analyzecmd

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/picketwatch/picket/internal/traffic"
)

// bar shows how far the reading came, on a terminal only.
type bar struct {
	on    bool
	out   io.Writer
	shown *progressbar.ProgressBar
	file  string
	total int
}

func newBar(stderr io.Writer, files []string) *bar {
	f, ok := stderr.(*os.File)
	return &bar{on: ok && term.IsTerminal(int(f.Fd())), out: stderr, total: len(files)}
}

// progress returns what Analyze calls for one file, nil when nothing is shown.
func (b *bar) progress(file string) func(traffic.FileProgress) {
	if !b.on {
		return nil
	}
	return func(p traffic.FileProgress) {
		if b.shown == nil || b.file != file {
			b.clear()
			b.file = file
			b.shown = b.start(filepath.Base(file), p.Total)
		}
		_ = b.shown.Set64(p.BytesRead) // a bar that cannot be drawn is no reason to stop
	}
}

func (b *bar) start(name string, total int64) *progressbar.ProgressBar {
	if total == 0 {
		total = -1 // a pipe: a spinner
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(name),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true))
}

// clear takes the bar away before something else is written.
func (b *bar) clear() {
	if b.shown != nil {
		_ = b.shown.Clear()
		b.shown = nil
	}
}
