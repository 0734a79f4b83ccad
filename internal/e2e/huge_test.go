package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHugeCapture takes a capture of any size through the server: PICKET_HUGE names it (make huge). It is sent, stopped in
// the middle, resumed, and read to its end, while what every process keeps in memory is watched.
func TestHugeCapture(t *testing.T) {
	path := os.Getenv("PICKET_HUGE")
	if path == "" {
		t.Skip("PICKET_HUGE names no capture")
	}
	settings := filepath.Join(t.TempDir(), "picketd.yaml")
	if err := os.WriteFile(settings, []byte("captures: {max_upload: 16GiB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "huge-") //nolint:usetesting // beside the capture there is room for another
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := startServer(t, filepath.Join(dir, "data"), freePort(t), "--config", settings)
	watch := watchMemory(s)
	defer watch.stop(t)

	began := time.Now()
	id := s.send(t, path)
	t.Logf("received in %s", time.Since(began).Round(time.Second))
	at := "/api/v1/captures/" + id
	job := &progress{t: t, s: s, at: at}

	job.until("a third", func(c hugeCapture) bool { return c.Progress > 0.3 })
	began = time.Now()
	var stopped hugeCapture
	s.call(t, http.MethodPost, at+"/cancel", nil, &stopped)
	t.Logf("stopped after %s: %.0f %%, %d packets, %d findings", time.Since(began).Round(time.Millisecond), stopped.Progress*100, stopped.Packets, stopped.Findings)
	if stopped.State != "stopped" || stopped.Packets == 0 || !strings.Contains(stopped.Skipped, "stopped after packet") {
		t.Errorf("%+v", stopped)
	}
	if workers := watch.running("picket-traffic"); workers != 0 {
		t.Errorf("%d workers go on", workers)
	}
	began = time.Now()
	s.call(t, http.MethodPost, at+"/resume", nil, nil)
	job.last = 0
	end := job.until("the end", func(c hugeCapture) bool { return c.State == "done" || c.State == "failed" })
	t.Logf("read to its end in %s: %+v", time.Since(began).Round(time.Second), end)
	if end.State != "done" || end.Packets <= stopped.Packets || end.Findings < stopped.Findings || strings.Contains(end.Skipped, "stopped") {
		t.Errorf("%+v", end)
	}
	began = time.Now()
	status, file := s.try(t, http.MethodGet, at+"/flows/1/pcap", nil)
	if status != http.StatusOK || len(file) < 24+16 {
		t.Errorf("the first flow: %d, %d bytes", status, len(file))
	}
	t.Logf("its first flow in %s, %d bytes", time.Since(began).Round(time.Millisecond), len(file))
}

type hugeCapture struct {
	capture
	Progress float64 `json:"progress"`
	Skipped  string  `json:"skipped"`
}

// send streams a file as the body of an upload.
func (s *server) send(t *testing.T, path string) (id string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/captures?name=huge.pcap", f)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = info.Size()
	patient := *s
	patient.http = &http.Client{Jar: s.http.Jar}
	status, answer := patient.do(t, req)
	var c capture
	if err := json.Unmarshal(answer, &c); status != http.StatusAccepted || err != nil {
		t.Fatalf("upload: %d %s", status, answer)
	}
	return c.ID
}

// progress follows a capture and wants its progress never to go back.
type progress struct {
	t    *testing.T
	s    *server
	at   string
	last float64
}

func (p *progress) until(what string, fits func(hugeCapture) bool) (c hugeCapture) {
	p.t.Helper()
	for {
		c = hugeCapture{}
		p.s.get(p.t, p.at, &c)
		if c.State == "running" {
			if c.Progress < p.last {
				p.t.Errorf("progress went from %.3f back to %.3f", p.last, c.Progress)
			}
			p.last = c.Progress
		}
		if fits(c) {
			return c
		}
		if c.State == "failed" {
			p.t.Fatalf("waiting for %s: %+v", what, c)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// footprint watches what a server and its children keep resident, by program.
type footprint struct {
	pid  int
	quit chan struct{}
	done chan struct{}
	seen map[string][]int // MiB, once a second
}

func watchMemory(s *server) *footprint {
	m := &footprint{pid: s.cmd.Process.Pid, quit: make(chan struct{}), done: make(chan struct{}), seen: map[string][]int{}}
	go func() {
		defer close(m.done)
		for {
			for _, pid := range append(descendants(m.pid), m.pid) {
				if name, size := resident(pid); size > 0 {
					m.seen[name] = append(m.seen[name], size)
				}
			}
			select {
			case <-m.quit:
				return
			case <-time.After(time.Second):
			}
		}
	}()
	return m
}

// resident is the program of a process and how many MiB it keeps.
func resident(pid int) (name string, size int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", 0
	}
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	name, _, _ = strings.Cut(string(command), "\x00")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &size); err == nil {
			break
		}
	}
	return filepath.Base(name), size >> 10
}

// running counts processes of a program.
func (m *footprint) running(name string) (n int) {
	for _, pid := range descendants(m.pid) {
		if of, size := resident(pid); of == name && size > 0 {
			n++
		}
	}
	return n
}

// flat is how much more a program may keep at its end than after a quarter of its time, in MiB: less than a garbage
// collector's next round.
const flat = 96

// stop reports the largest size of each program, and which of them grew.
func (m *footprint) stop(t *testing.T) {
	t.Helper()
	close(m.quit)
	<-m.done
	for name, sizes := range m.seen {
		most, early, late := 0, 0, 0
		for i, size := range sizes {
			most = max(most, size)
			switch i * 4 / len(sizes) {
			case 1:
				early = max(early, size)
			case 3:
				late = max(late, size)
			}
		}
		t.Logf("%s: at most %d MiB, %d in the second quarter, %d in the last", name, most, early, late)
		if len(sizes) > 20 && late > early+flat {
			t.Errorf("%s grew from %d to %d MiB", name, early, late)
		}
	}
}
