package store

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func unpack(t *testing.T, file string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	must(t, err)
	defer z.Close()
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		to := filepath.Join(dir, h.Name)
		must(t, os.MkdirAll(filepath.Dir(to), 0o700))
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o600)
		must(t, err)
		_, err = io.Copy(out, in)
		must(t, errors.Join(err, out.Close()))
	}
}

// What older programs left is opened by this one with every row, mark, setting and line of the audit log: a gauge and a counter every half
// hour from start on, 48 of them, and 12 at the end of the ninth day after; all by programs of the date in the name.
func TestFilesOfOlderPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/older/*.tar.zst")
	must(t, err)
	if len(files) < 2 {
		t.Fatalf("%d files", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			dir := unpack(t, file)
			now := &clock{t: start.Add(9 * 24 * time.Hour)}
			c := openAt(t, dbPlace{filepath.Join(dir, "data", "control.db"), filepath.Join(dir, "keys", "secret.key")}, now.Now)
			if v, err := c.Setting(t.Context(), "default", "colour"); err != nil || v != "red" {
				t.Errorf("setting %q, %v", v, err)
			}
			if r, err := c.VerifyAudit(t.Context(), "default", AuditHead{}); err != nil || r.Problem != "" {
				t.Errorf("the audit log: %+v, %v", r, err)
			}
			if list, _, err := c.ListAudit(t.Context(), "default", AuditFilter{}, Page{}); err != nil || len(list) < 5 {
				t.Errorf("%d lines, %v", len(list), err)
			}
			tel := openTelemetry(t, filepath.Join(dir, "data", "telemetry"), now, nil)
			var want []float64
			for i := range 60 {
				want = append(want, float64(i))
			}
			check := func(when string) {
				t.Helper()
				lines := rawOf(t, tel, "default", start.Add(-time.Hour), now.Now())
				if len(lines) != 2 {
					t.Fatalf("%s: %d series", when, len(lines))
				}
				for i, line := range lines { // system.memory.usage, system.network.io
					var got []float64
					for _, s := range line {
						got = append(got, s.Value/[]float64{1, 10}[i])
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: series %d is %v", when, i, got)
					}
				}
				if res := appendTo(t, tel, batch(60, gauge(start.Add(9*24*time.Hour-time.Minute), 1))); res.Duplicate != 1 {
					t.Errorf("%s: a mark is missing: %+v", when, res)
				}
			}
			check("as it was left")
			for range 12 {
				now.Add(time.Hour)
				must(t, tel.Tidy(t.Context()))
			}
			if n := tel.Stats().Failures; n > 0 {
				t.Errorf("%d failures", n)
			}
			check("in the shape of this program")
			must(t, tel.Close())
			tel = openTelemetry(t, filepath.Join(dir, "data", "telemetry"), now, nil)
			check("opened again")
		})
	}
}
