package logtail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/logtail") }

func TestConformance(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	config := plugintest.JSON(t, map[string]any{"files": []string{name}, "patterns": map[string]string{"a": "a"}})
	sdktest.Run(t, Plugin(), sdktest.Options{
		Config:  []byte(config),
		NewHost: func(t *testing.T) sdk.Host { t.Helper(); return plugintest.NewHost(t, New(), config) },
	})
}

// followed is a collector of one file, with some patterns.
type followed struct {
	*Collector
	t    *testing.T
	name string
	host *plugintest.Host
}

func follow(t *testing.T, name string, more map[string]any) *followed {
	t.Helper()
	c := New()
	config := map[string]any{"files": []string{name}, "patterns": map[string]string{"bad": "bad", "took": `took (?P<value>\S+) ms`}}
	for k, v := range more {
		config[k] = v
	}
	return &followed{Collector: c, t: t, name: name, host: plugintest.Start(t, c, plugintest.JSON(t, config))}
}

func (f *followed) collect() plugintest.Readings {
	f.t.Helper()
	var got plugintest.Readings
	if err := f.Collect(f.t.Context(), sdk.CollectRequest{}, &got); err != nil {
		f.t.Fatal(err)
	}
	return got
}

func (f *followed) wants(lines, bad float64) {
	f.t.Helper()
	got := f.collect()
	if n, b := got.Value("log.lines"), got.Value("log.lines.matched log.pattern=bad"); n != lines || b != bad {
		f.t.Errorf("%v lines, %v bad ones; want %v, %v", n, b, lines, bad)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "bad before\nhalf of")
	f := follow(t, name, nil)
	f.wants(0, 0)
	write(t, name, " a bad line that nobody saw begin\nbad\r\ngood\nbad but not")
	f.wants(2, 1)
	f.wants(2, 1)
	write(t, name, " for long\n")
	f.wants(3, 2)
}

func TestRotation(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f := follow(t, name, nil)
	if got := f.collect(); len(got) != 0 {
		t.Errorf("a file that is not there gives %v", got)
	}
	write(t, name, "bad 1\n")
	f.wants(1, 1)
	write(t, name, "bad 2\nbad 3 without its end")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, name, "bad 4\n")
	f.wants(4, 4)
	// Moved away, and nothing in its place yet.
	write(t, name, "bad 5\n")
	if err := os.Rename(name, name+".2"); err != nil {
		t.Fatal(err)
	}
	f.wants(5, 5)
	f.wants(5, 5)
	write(t, name, "bad 6\n")
	f.wants(6, 6)
}

func TestTruncation(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "")
	f := follow(t, name, nil)
	f.wants(0, 0)
	write(t, name, "bad 1\nbad 2\n")
	f.wants(2, 2)
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	write(t, name, "bad 3\n")
	f.wants(3, 3)
	// Longer than before by the time it is looked at: told by how it begins.
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	write(t, name, "another bad 4\nbad 5\nbad 6\n")
	f.wants(6, 6)
}

func TestLongLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "")
	f := follow(t, name, map[string]any{"max_line": 256})
	f.wants(0, 0)
	write(t, name, "bad 1\n"+strings.Repeat("bad ", 100)+"\nbad 2\n"+strings.Repeat("bad ", 100_000))
	f.wants(2, 2)
	write(t, name, strings.Repeat("bad ", 100_000)+"\nbad 3\n")
	f.wants(3, 3)
	if n := f.collect().Value("log.lines.dropped"); n != 2 {
		t.Errorf("%v lines dropped, want 2", n)
	}
}

func TestMoreThanIsRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "")
	f := follow(t, name, map[string]any{"max_read": 4096})
	f.wants(0, 0)
	const line = "bad 01234567890\n" // 16 bytes
	write(t, name, strings.Repeat(line, 1000))
	f.wants(256, 256)
	write(t, name, "x"+strings.Repeat(line, 256)) // the first is cut by the limit
	f.wants(511, 511)
	if n := f.collect().Value("log.bytes.skipped"); n != 1000*16-4096+1 {
		t.Errorf("%v bytes skipped", n)
	}
}

func TestNumbers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "")
	f := follow(t, name, nil)
	f.collect()
	write(t, name, "took 5 ms\ntook 2.5 ms\ntook NaN ms\ntook long ms\n")
	got := f.collect()
	for series, want := range map[string]float64{
		"log.lines.matched log.pattern=took": 4, "log.value.count": 2, "log.value.sum": 7.5, "log.value.min": 2.5, "log.value.max": 5,
	} {
		if v := got.Value(series); v != want {
			t.Errorf("%s is %v, want %v", series, v, want)
		}
	}
	if v := f.collect().Value("log.value.max"); !math.IsNaN(v) {
		t.Errorf("without a new number the largest is %v", v)
	}
}

// After a restart reading goes on where it ended, and from the beginning where the file is another.
func TestRestart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, "")
	f := follow(t, name, nil)
	f.wants(0, 0)
	write(t, name, "bad 1\n")
	f.wants(1, 1)
	again := func() *followed {
		t.Helper()
		if err := f.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := New()
		plugintest.Configure(t, next, plugintest.JSON(t, map[string]any{"files": []string{name}, "patterns": map[string]string{"bad": "bad"}}))
		if err := next.Start(t.Context(), f.host); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = next.Stop(context.Background()) })
		return &followed{Collector: next, t: t, name: name, host: f.host}
	}
	write(t, name, "bad 2\nbad 3\n")
	again().wants(2, 2)
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, name, "different, and longer than the other one was\nbad\n")
	again().wants(2, 1)
}

func TestWhatCannotBeRead(t *testing.T) {
	f := follow(t, filepath.Join(t.TempDir(), "log"), nil)
	f.files[0].name = "/etc/hostname"
	var got plugintest.Readings
	if err := f.Collect(t.Context(), sdk.CollectRequest{}, &got); sdk.ClassOf(err) != sdk.PermissionDenied || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	f.files[0].patterns = nil
	if err := f.files[0].read(t.Context(), func(string) (fs.File, error) { return nil, errors.New("broken") }); err == nil {
		t.Error("an error is lost")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"files": []}`, `{"files": ["log"]}`, `{"files": ["/a/../b"]}`, `{"files": ["/a", "/a"]}`,
		`{"files": ["/a"], "patterns": {"x": "("}}`, `{"files": ["/a"], "patterns": {"x": "(?=no)"}}`, `{"files": ["/a"], "patterns": {"": "x"}}`,
		fmt.Sprintf(`{"files": ["/a"], "patterns": {"x": %q}}`, strings.Repeat("a", 1025)),
	} {
		if err := plugintest.Decode(New(), text); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// However a file is written, each whole line that is not too long is counted once.
func FuzzFollow(f *testing.F) {
	f.Add([]byte("a\nb\n"), uint8(1))
	f.Add([]byte(strings.Repeat("x", 700)+"\nbad\n"), uint8(7))
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		if len(text) > 4096 {
			return
		}
		name := filepath.Join(t.TempDir(), "log")
		write(t, name, "")
		file := newFile(name, Config{MaxLine: 256, MaxRead: 1 << 20}, nil)
		open := func(name string) (fs.File, error) { return os.Open(name) }
		defer file.close()
		if err := file.read(t.Context(), open); err != nil {
			t.Fatal(err)
		}
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(step)*97+1)
			write(t, name, string(rest[:n]))
			rest = rest[n:]
			if err := file.read(t.Context(), open); err != nil {
				t.Fatal(err)
			}
		}
		var want, dropped float64
		lines := strings.Split(string(text), "\n")
		for _, line := range lines[:len(lines)-1] {
			if len(line) > 256 {
				dropped++
			} else {
				want++
			}
		}
		if len(lines[len(lines)-1]) > 256 {
			dropped++
		}
		if file.lines != want || file.dropped != dropped {
			t.Errorf("%v lines and %v dropped, want %v and %v", file.lines, file.dropped, want, dropped)
		}
	})
}
