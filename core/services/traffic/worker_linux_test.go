package traffic

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/carved"
)

// TestAConfinedWorker lets picket-launch confine picket-traffic, which reads captures that it could not open itself.
func TestAConfinedWorker(t *testing.T) {
	dir := programs(t)
	confinedCmd, release, err := confined(Command(dir, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	release()
	const wanted = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	if flags := confinedCmd.SysProcAttr.Cloneflags; flags&wanted != wanted {
		t.Errorf("namespaces %x", flags)
	}
	b := newBench(t, "")
	b.cfg.Worker = func(w Wanted) *exec.Cmd { return Command(dir, w.Args()) }
	b.cfg.Carver = func(args []string) *exec.Cmd { return Command(dir, args) }
	capture, err := os.ReadFile("../../../examples/datasets/first-light/first-light.pcap")
	if err != nil {
		t.Fatal(err)
	}
	plain := b.finish(t, string(capture))
	if plain.State != Done || plain.Packets < 100 || plain.Flows == 0 || plain.Error != "" || plain.Truncated {
		t.Fatalf("%+v", plain)
	}
	for how, data := range map[string][]byte{"gzip": zipped(t, capture), "zstd": zstandard(t, capture)} {
		if c := b.finish(t, string(data)); c.State != Done || c.Packets != plain.Packets || c.Flows != plain.Flows {
			t.Errorf("%s: %+v", how, c)
		}
	}
	cut := b.finish(t, string(capture[:len(capture)-10]))
	if cut.State != Done || !cut.Truncated || cut.Packets != plain.Packets-1 || len(cut.Notes) == 0 {
		t.Errorf("cut off: %+v", cut)
	}
	if c := b.finish(t, "GIF89a, not a capture"); c.State != Failed || !strings.Contains(c.Error, "not a capture") {
		t.Errorf("no capture: %+v", c)
	}
	t.Run("carves", func(t *testing.T) { carveConfined(t, b, plain, cut) })
}

// carveConfined takes packets out of captures that were analysed, one of them damaged.
func carveConfined(t *testing.T, b *bench, plain, cut Capture) {
	t.Helper()
	for _, c := range []Capture{plain, cut} {
		page, err := b.Packets(t.Context(), c, carved.Wanted{Flow: 1})
		if err != nil || len(page.Items) == 0 || page.Items[0].Number != 1 || page.Items[0].Direction != "forward" || page.Items[0].Src == "" {
			t.Errorf("%+v, %v", page, err)
		}
		var file bytes.Buffer
		if err := b.Carve(t.Context(), c, carved.Wanted{Flow: 1}, &file); err != nil || file.Len() <= 24 {
			t.Errorf("%d bytes, %v", file.Len(), err)
		}
	}
	if _, err := b.Packets(t.Context(), plain, carved.Wanted{Flow: plain.Flows + 1}); !errors.Is(err, ErrNoPackets) {
		t.Error(err)
	}
	if page, err := b.Packets(t.Context(), plain, carved.Wanted{Numbers: []uint64{2, 9}}); err != nil || len(page.Items) != 2 || page.Items[1].Number != 9 {
		t.Errorf("%+v, %v", page, err)
	}
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}
