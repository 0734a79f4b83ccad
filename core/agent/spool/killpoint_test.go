package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const killBatches = 40

// small makes a queue of 40 batches rotate, forget and overflow.
func small(dir string) Config { return Config{Dir: dir, MaxBytes: 900, SegmentBytes: 250} }

// workUntilKilled is a child that measures and sends, then measures alone until its queue overflows, sends again and ends, unless
// it dies at one of its points. It says which batches it was promised to keep and which the server took.
func workUntilKilled(dir, at string) error {
	point, err := strconv.Atoi(at)
	if err != nil {
		return err
	}
	cfg := small(dir)
	cfg.step = func(string) {
		if point--; point == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	s, err := Open(cfg)
	if err != nil {
		return err
	}
	for n := range killBatches {
		seq, err := s.Append(1, 10, fmt.Appendf(nil, "batch %d", s.next))
		if err != nil {
			return err
		}
		fmt.Println("kept", seq)
		if n < 10 || n > 35 {
			s.saved = time.Time{} // as if the last mark were old
			it, err := s.Next(context.Background())
			if err != nil {
				return err
			}
			fmt.Println("sent", it.Seq)
			s.Ack(it.Seq)
		}
	}
	return s.Close()
}

// The program dies once at each point of the queue: where a batch is appended, a segment begun or removed, the mark written. Each
// batch that was promised was sent, is in the queue still, or is counted as dropped, never two of these.
func TestKilledAtEachPoint(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm") // what is killed needs no disk, and a busy one takes its time to sync
	}
	points, overflowed := 0, false
	for point := 1; ; point++ {
		dir := filepath.Join(t.TempDir(), "queue")
		child := exec.Command("/proc/self/exe")
		child.Env = []string{"SPOOL_DIR=" + dir, "SPOOL_POINT=" + strconv.Itoa(point)}
		child.Stderr = os.Stderr
		said, err := child.Output()
		var died *exec.ExitError
		if err != nil && (!errors.As(err, &died) || !died.Sys().(syscall.WaitStatus).Signaled()) {
			t.Fatalf("point %d: %v", point, err)
		}

		has := map[uint64]bool{}
		var last uint64 // that was promised
		for lines := bufio.NewScanner(bytes.NewReader(said)); lines.Scan(); {
			var what string
			var seq uint64
			if _, err := fmt.Sscan(lines.Text(), &what, &seq); err != nil {
				t.Fatalf("point %d: %q: %v", point, lines.Text(), err)
			}
			if what == "sent" {
				has[seq] = true
			} else {
				last = max(last, seq)
			}
		}
		s := open(t, small(dir))
		dropped := s.Stats().Dropped
		for _, seq := range drain(t, s) {
			has[seq] = true
		}
		lost := uint64(0)
		for seq := uint64(1); seq <= last; seq++ {
			if !has[seq] {
				lost++
			}
		}
		if dropped != 10*lost {
			t.Fatalf("point %d: %d of %d batches are neither sent nor kept, %d rows of 10 each are counted as dropped", point, lost, last, dropped)
		}
		if seq, err := s.Append(1, 1, nil); err != nil || seq <= last || has[seq] {
			t.Fatalf("point %d: the next batch has number %d, %v", point, seq, err)
		}
		overflowed = overflowed || lost > 0
		if died == nil {
			break
		}
		points++
	}
	if points < 150 || !overflowed {
		t.Errorf("died at %d points, overflowed: %t", points, overflowed)
	}
}
