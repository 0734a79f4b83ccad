package traffic

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
)

func TestUploadLimits(t *testing.T) {
	b := newBench(t, "honest")
	if _, err := b.Receive(t.Context(), "acme", "a", "user:ada", strings.NewReader("")); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	if _, err := b.Receive(t.Context(), "acme", "a", "user:ada", bytes.NewReader(make([]byte, 1<<20+1))); !errors.Is(err, ErrTooBig) {
		t.Errorf("too big: %v", err)
	}
	broken := io.MultiReader(strings.NewReader("abc"), iotestErr{})
	if _, err := b.Receive(t.Context(), "acme", "a", "user:ada", broken); err == nil {
		t.Error("a broken upload was taken")
	}
	left, _ := os.ReadDir(b.cfg.Dir)
	if len(left) != 0 || len(b.store.rows) != 0 {
		t.Errorf("refused uploads left %d files and %d rows", len(left), len(b.store.rows))
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Many people send at the same time, some of them the same.
func TestManyUploadsAtOnce(t *testing.T) {
	b := newBench(t, "honest")
	const people, files = 24, 6
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			content := strings.Repeat(string(rune('a'+i%files)), 100_000)
			if _, err := b.Receive(t.Context(), "acme", "some.pcap", "user:ada", strings.NewReader(content)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	left, _ := os.ReadDir(b.cfg.Dir)
	if len(left) != files || b.Waiting() != people || len(b.store.rows) != people {
		t.Errorf("%d files, %d waiting, %d rows", len(left), b.Waiting(), len(b.store.rows))
	}
}

func TestTheSameBytesAreStoredOnce(t *testing.T) {
	b := newBench(t, "honest")
	b.finish(t, "same")
	b.finish(t, "same")
	files, _ := os.ReadDir(b.cfg.Dir)
	if len(files) != 1 || len(b.store.rows) != 2 {
		t.Errorf("%d files, %d rows", len(files), len(b.store.rows))
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"a.pcap": "a.pcap", "../../etc/passwd": "passwd", `C:\x\b.pcap`: "b.pcap", "": "capture", "..": "capture",
		"a\x00\nb": "ab", "\xff\xfe": "capture", strings.Repeat("é", 500): strings.Repeat("é", 120),
	} {
		if got := cleanName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
