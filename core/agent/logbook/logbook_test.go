package logbook

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func lines(t *testing.T, dir string, q Query) []Line {
	t.Helper()
	out, err := Search(dir, q)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Sixty megabytes by several writers: no line is lost or out of a writer's order, no file is larger than it may be, nobody else reads.
func TestSixtyMegabytes(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 100_000
	log := slog.New(slog.NewJSONHandler(b, nil))
	fill := strings.Repeat("x", 60)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				log.Info("line", "w", w, "i", i, "fill", fill)
			}
		})
	}
	all.Wait()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > DefaultSize || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %o", f.Name(), info.Size(), info.Mode().Perm())
		}
	}
	if len(files) != 1+Older {
		t.Errorf("%d files", len(files))
	}
	next := [writers]int{}
	for _, l := range lines(t, dir, Query{Level: slog.LevelDebug, Most: writers*each + 1}) {
		var w, i int
		if _, err := fmt.Sscanf(l.Rest, "fill="+fill+" i=%d w=%d", &i, &w); err != nil || next[w] != i {
			t.Fatalf("after line %d of writer %d: %s (%v)", next[w], w, l.Rest, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("writer %d: %d of %d lines", w, n, each)
		}
	}
}

func TestAFileIsPutAwayAfterADay(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(b, nil))
	for day := range Older + 3 {
		b.now = func() time.Time { return time.Now().Add(time.Duration(day) * 25 * time.Hour) }
		log.Info("a day", "day", day)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, dir, Query{Level: slog.LevelDebug, Most: 100})
	if len(got) != Older+1 || got[0].Rest != "day=2" || got[Older].Rest != "day=7" {
		t.Errorf("%+v", got)
	}
}

// A kill between any two steps of putting a file away loses nothing.
func TestAKillWhilePacking(t *testing.T) {
	dir := t.TempDir()
	text := `{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"from before","n":1}` + "\n"
	for name, content := range map[string]string{"agent.log.1": text, "agent.log.1.gz.new": "half"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "agent.log.1")); err == nil {
		t.Error("it is still there unpacked")
	}
	if got := lines(t, dir, Query{Level: slog.LevelWarn, Most: 5}); len(got) != 1 || got[0].Text != "from before" || got[0].Rest != "n=1" {
		t.Errorf("%+v", got)
	}
}

func TestSearch(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(dir, 400)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for i := range 12 {
		log.Log(t.Context(), []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i%4], "it is so", "n", i, "where", "Here and there")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{slog.LevelDebug, "", 3}, "9 10 11"},
		{Query{slog.LevelWarn, "", 3}, "7 10 11"},
		{Query{slog.LevelError, "HERE AND", 2}, "7 11"},
		{Query{slog.LevelDebug, "nowhere", 3}, ""},
	} {
		var got []string
		for _, l := range lines(t, dir, c.q) {
			var n int
			if _, err := fmt.Sscanf(l.Rest, "n=%d", &n); err != nil {
				t.Fatal(l.Rest, err)
			}
			got = append(got, fmt.Sprint(n))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.q, got, c.want)
		}
	}
}

// Where nothing can be written the agent goes on, and says so when it can again.
func TestLinesThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	b, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.file.Close()
	b.file = nil
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(b, nil))
	log.Info("lost")
	log.Info("lost too")
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	log.Info("kept")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, dir, Query{Level: slog.LevelDebug, Most: 9}); len(got) != 2 || got[0].Rest != "lines=2" || got[1].Text != "kept" {
		t.Errorf("%+v", got)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"m","n":{"a":[1]}}`+"\nno line\n"), "m")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		if got := scan(strings.NewReader(string(raw)), Query{slog.LevelInfo, strings.ToLower(text), 3}); len(got) > 3 {
			t.Errorf("%d lines", len(got))
		}
	})
}

// A line that is too long hides none that came after it.
func TestALongLineHidesNoOther(t *testing.T) {
	dir := t.TempDir()
	line := func(text string) string { return `{"time":"2026-03-01T12:00:00Z","level":"INFO","msg":"` + text + `"}` }
	text := strings.Join([]string{line("before"), line(strings.Repeat("x", 3*maxLine)), line("after"), "", line("last")}, "\n")
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := lines(t, dir, Query{Most: 10})
	if len(got) != 3 || got[0].Text != "before" || got[1].Text != "after" || got[2].Text != "last" {
		t.Errorf("%d lines", len(got))
	}
}
