package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/picketwatch/picket/sdk"
)

// FileProgress is a Progress with how much of the file was read. Total is 0 when the input is a pipe.
type FileProgress struct {
	Progress
	BytesRead, Total int64
}

// AnalyzeFile is Analyze on a file, or on standard input when path is "-". Errors name the file.
func AnalyzeFile(ctx context.Context, path string, opts Options, progress func(FileProgress), emit func([]sdk.Flow) error) (Summary, error) {
	f, err := openCapture(path)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	sum, err := AnalyzeOpen(ctx, f, opts, progress, emit)
	if err != nil {
		return sum, fmt.Errorf("capture %s: %w", path, err)
	}
	return sum, nil
}

// AnalyzeOpen is Analyze on an open file or pipe.
func AnalyzeOpen(ctx context.Context, f *os.File, opts Options, progress func(FileProgress), emit func([]sdk.Flow) error) (Summary, error) {
	total := int64(0)
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		total = info.Size()
	}
	in := &countingReader{r: f}
	if progress != nil {
		opts.Progress = func(p Progress) {
			progress(FileProgress{Progress: p, BytesRead: in.n, Total: total})
		}
	}
	return Analyze(ctx, in, opts, emit)
}

func openCapture(path string) (*os.File, error) {
	if path == "-" {
		return os.Stdin, nil
	}
	f, err := os.Open(path)
	if err != nil {
		var reason *fs.PathError
		if errors.As(err, &reason) {
			err = reason.Err // the path is told below
		}
		return nil, fmt.Errorf("open capture %s: %w", path, err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fmt.Errorf("open capture %s: it is a directory, expected a capture file", path)
	}
	return f, nil
}

// countingReader counts what was read, for progress.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
