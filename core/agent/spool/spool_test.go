package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary play an agent that appends until it is killed.
func TestMain(m *testing.M) {
	if point := os.Getenv("SPOOL_POINT"); point != "" {
		if err := workUntilKilled(os.Getenv("SPOOL_DIR"), point); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv("SPOOL_WRITER"); dir != "" {
		s, err := Open(Config{Dir: dir, SegmentBytes: 4096})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			seq, err := s.Append(1, 1, []byte("batch "+strconv.FormatUint(s.next, 10)))
			if err != nil {
				os.Exit(1)
			}
			fmt.Println(seq)
		}
	}
	os.Exit(m.Run())
}

func open(t *testing.T, cfg Config) *Spool {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Spool, n int) {
	t.Helper()
	for range n {
		if _, err := s.Append(1, 10, fmt.Appendf(nil, "batch %d", s.next)); err != nil {
			t.Fatal(err)
		}
	}
}

// drain reads and acknowledges everything, checks that each batch is the one its number says, and returns the numbers.
func drain(t *testing.T, s *Spool) []uint64 {
	t.Helper()
	var seqs []uint64
	for s.Stats().Depth > 0 {
		it, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("batch %d", it.Seq); string(it.Payload) != want || it.Kind != 1 {
			t.Fatalf("batch %d holds %q, kind %d", it.Seq, it.Payload, it.Kind)
		}
		seqs = append(seqs, it.Seq)
		s.Ack(it.Seq)
	}
	return seqs
}

func wantSeqs(t *testing.T, got []uint64, first, last uint64) {
	t.Helper()
	if uint64(len(got)) != last-first+1 || got[0] != first || got[len(got)-1] != last {
		t.Fatalf("got %d batches %v, want %d to %d", len(got), got, first, last)
	}
}

func TestBatchesComeOutInOrderUntilAcknowledged(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), SegmentBytes: 300})
	put(t, s, 50)
	for range 3 {
		if it, err := s.Next(t.Context()); err != nil || it.Seq != 1 {
			t.Fatalf("got %d, %v; want the first batch until it is acknowledged", it.Seq, err)
		}
	}
	wantSeqs(t, drain(t, s), 1, 50)
	if n := len(segments(t, s.cfg.Dir)); n != 1 {
		t.Errorf("%d segments left, want the newest alone", n)
	}
}

func TestNextWaits(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v from an empty queue", err)
	}
	got := make(chan uint64)
	go func() {
		it, _ := s.Next(t.Context())
		got <- it.Seq
	}()
	put(t, s, 1)
	if seq := <-got; seq != 1 {
		t.Fatalf("got %d", seq)
	}
	s.Ack(1)
	go s.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("got %v from a closed queue", err)
	}
}

func TestReopenContinues(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentBytes: 300})
	epoch := s.Epoch()
	put(t, s, 30)
	for seq := range uint64(12) {
		s.Ack(seq + 1)
	}
	s.Close()

	s = open(t, Config{Dir: dir, SegmentBytes: 300})
	if s.Epoch() != epoch {
		t.Fatal("the epoch changed")
	}
	put(t, s, 5)
	wantSeqs(t, drain(t, s), 13, 35)
	s.Close()

	s = open(t, Config{Dir: dir, SegmentBytes: 300})
	put(t, s, 1)
	wantSeqs(t, drain(t, s), 36, 36) // also when everything had been acknowledged
}

func TestARecreatedQueueIsANewEpoch(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Config{Dir: dir})
	a.Close()
	os.RemoveAll(dir)
	if b := open(t, Config{Dir: dir}); a.Epoch() == b.Epoch() {
		t.Fatal("same epoch")
	}
}

// A power cut can leave any part of what was not synced. Cut the newest segment at every byte: what was whole comes
// back, and no number is given out twice.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, 3)
	s.Close()
	name := segments(t, dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	one := (len(whole) - headerSize) / 3
	for cut := headerSize; cut <= len(whole); cut++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Config{Dir: dir})
		kept := (cut - headerSize) / one
		if got := s.Stats().Depth; got != kept {
			t.Fatalf("cut at %d: %d batches, want %d", cut, got, kept)
		}
		if torn := (cut-headerSize)%one != 0; torn && s.next <= uint64(kept)+1 {
			t.Fatalf("cut at %d: number %d may have been used", cut, s.next)
		}
		put(t, s, 2)
		if n := len(drain(t, s)); n != kept+2 {
			t.Fatalf("cut at %d: %d batches after the repair, want %d", cut, n, kept+2)
		}
		s.Close()
		os.RemoveAll(dir)
	}
}

func TestAFlippedBitCostsTheRestOfItsSegmentOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentBytes: 300})
	put(t, s, 40)
	s.Close()
	files := segments(t, dir)
	data, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	_ = os.WriteFile(files[1], data, 0o600)

	s = open(t, Config{Dir: dir, SegmentBytes: 300})
	if got := s.Stats(); got.Damaged != 1 || got.Depth != 39 {
		t.Fatalf("stats %+v, want 1 damaged and 39 waiting", got)
	}
	put(t, s, 1)
	if got := drain(t, s); len(got) != 40 || got[39] != 41 {
		t.Fatalf("got %v", got)
	}
}

func TestABadHeaderIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentBytes: 300})
	put(t, s, 40)
	s.Close()
	files := segments(t, dir)
	last := files[len(files)-1]
	data, _ := os.ReadFile(last)
	data[10] ^= 1
	_ = os.WriteFile(last, data, 0o600)

	s = open(t, Config{Dir: dir, SegmentBytes: 300})
	if s.Stats().Damaged != 1 {
		t.Fatalf("stats %+v", s.Stats())
	}
	if s.next <= 40 {
		t.Fatalf("number %d would be given out a second time", s.next)
	}
	if _, err := os.Stat(last + ".damaged"); err != nil {
		t.Error(err)
	}
}

func TestFullQueueDropsTheOldestAndCounts(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxBytes: 4000, SegmentBytes: 500})
	put(t, s, 500)
	st := s.Stats()
	if st.Bytes > 4000 {
		t.Errorf("%d bytes, want at most 4000", st.Bytes)
	}
	got := drain(t, s)
	if got[len(got)-1] != 500 {
		t.Errorf("the newest batch is %d, want 500", got[len(got)-1])
	}
	if st.Dropped != uint64(500-len(got))*10 {
		t.Errorf("%d rows counted as dropped, want %d", st.Dropped, (500-len(got))*10)
	}
}

func TestDropOldestWhileItIsBeingSent(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxBytes: 4000, SegmentBytes: 500})
	put(t, s, 5)
	it, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 500)
	s.Ack(it.Seq) // of a batch that is gone
	if got := drain(t, s); got[len(got)-1] != 505 {
		t.Fatalf("got %v", got)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("needs the right to mount a small tmpfs: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	s := open(t, Config{Dir: dir, SegmentBytes: 16 << 10})
	payload := bytes.Repeat([]byte("x"), 1000)
	for i := range 500 {
		if _, err := s.Append(1, 1, payload); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
	}
	st := s.Stats()
	if st.Dropped == 0 || st.Depth+int(st.Dropped) != 500 {
		t.Fatalf("stats %+v, want depth and dropped to make 500", st)
	}
	s.Close()
	if again := open(t, Config{Dir: dir}); again.Stats().Depth != st.Depth {
		t.Fatalf("%d batches after reopening, want %d", again.Stats().Depth, st.Depth)
	}
}

func TestKillNineLosesNothingThatWasPromised(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"SPOOL_WRITER=" + dir}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		promised := uint64(0)
		for i := 0; lines.Scan(); i++ {
			if promised, err = strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 64); err != nil {
				t.Fatal(lines.Text())
			}
			if i == 20+7*round {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()

		s, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		got := drain(t, s)
		if len(got) == 0 || got[len(got)-1] < promised {
			t.Fatalf("round %d: %d was promised, the queue ends at %v", round, promised, got)
		}
		for i := 1; i < len(got); i++ {
			if got[i] != got[i-1]+1 {
				t.Fatalf("round %d: gap after %d", round, got[i-1])
			}
		}
		s.Close()
	}
}

func FuzzScan(f *testing.F) {
	var seed []byte
	for i := range 3 {
		seed = appendRecord(seed, Item{Seq: uint64(i + 1), Kind: 1, Rows: 2, Payload: []byte("batch")})
	}
	head := header{first: 1}.encode()
	f.Add(append(head, seed...))
	f.Add(append(head, seed[:40]...))
	f.Add([]byte("PKSPOOL1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		h, err := readHeader(r)
		if err != nil {
			return
		}
		again := h.encode()
		end, _ := scan(r, r.Size(), h.first, func(it Item) { again = appendRecord(again, it) })
		if int64(len(again)) != end || end > r.Size() {
			t.Fatalf("read %d bytes of %d, which make %d", end, len(data), len(again))
		}
	})
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segments: %v, %v", files, err)
	}
	return files
}
