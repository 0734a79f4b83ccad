package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// What is written to each receiver: the same series, every fifteen seconds of the hour that is ending.
const (
	ingestSeries  = 10_000
	ingestRounds  = 100
	ingestBatch   = 2_000 // samples in a request, as a busy Prometheus sends them
	ingestSenders = 2
	ingestStep    = 15 * time.Second
	ingestSettle  = 3 * time.Second // in which a receiver ends what it began
)

// A receiver takes remote writes.
type receiver struct {
	name string
	url  string
	pid  int
	auth string
	stop func()
}

// taken is what writing to a receiver took.
type taken struct {
	cpu, wall time.Duration
	again     int // requests that were sent again because it had enough to do
}

func (t taken) perCPUSecond() float64 { return ingestSeries * ingestRounds / t.cpu.Seconds() }

func reportIngest(ctx context.Context) error {
	fmt.Printf("Ingest  (remote write, %d series × %d samples, %d in a request, %d senders; CPU of the receiver alone)\n",
		ingestSeries, ingestRounds, ingestBatch, ingestSenders)
	dir, err := os.MkdirTemp("", "picket-bench-ingest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	figures := map[string]taken{}
	for _, start := range []func(context.Context, string) (*receiver, error){startPicket, startVictoria, startPrometheus} {
		r, err := start(ctx, dir)
		switch {
		case errors.Is(err, exec.ErrNotFound):
			fmt.Printf("  %v: left out\n", err)
			continue
		case err != nil:
			return err
		}
		took, err := write(ctx, r)
		r.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		figures[r.name] = took
		fmt.Printf("  %-28s %9.0f samples per CPU second   %5.2f µs a sample   %7.0f/s by the clock   %d requests again\n", r.name, took.perCPUSecond(),
			1e6/took.perCPUSecond(), ingestSeries*ingestRounds/took.wall.Seconds(), took.again)
	}
	for _, peer := range []struct {
		name   string
		budget float64
	}{{nameVictoria, 0.5}, {namePrometheus, 2}} {
		f, there := figures[peer.name]
		if !there {
			continue
		}
		ratio := figures[nameIngest].perCPUSecond() / f.perCPUSecond()
		verdict := "met"
		if ratio < peer.budget {
			verdict = "MISSED"
		}
		fmt.Printf("  %-62s %9.2f ×    %s, at least %.1f\n", "samples per CPU second, picket / "+peer.name, ratio, verdict, peer.budget)
	}
	fmt.Println()
	return nil
}

const nameIngest, nameVictoria, namePrometheus = "picketd", "VictoriaMetrics", "Prometheus"

func startPicket(ctx context.Context, _ string) (*receiver, error) {
	s, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	token, err := s.pushToken(ctx)
	if err != nil {
		s.stop()
		return nil, err
	}
	if err := calm(s.cmd.Process.Pid); err != nil { // its plugins are starting
		s.stop()
		return nil, err
	}
	return &receiver{nameIngest, s.base + "/prometheus/api/v1/write", s.cmd.Process.Pid, "Bearer " + token, s.stop}, nil
}

// calm waits until a process has little to do, for a minute at most.
func calm(pid int) error {
	for range 20 {
		before, err := cpuOfOne(pid)
		if err != nil {
			return err
		}
		time.Sleep(ingestSettle)
		after, err := cpuOfOne(pid)
		if err != nil {
			return err
		}
		if after-before < ingestSettle/50 {
			return nil
		}
	}
	return nil
}

func (s *server) pushToken(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/api/v1/tokens", strings.NewReader(`{"name":"bench","role":"IT","scopes":["metrics:write"]}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Picket-CSRF", s.csrf)
	resp, err := s.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var made struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.Token == "" {
		return "", fmt.Errorf("make a token: %s: %w", resp.Status, err)
	}
	return made.Token, nil
}

func startVictoria(ctx context.Context, dir string) (*receiver, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return startReceiver(ctx, nameVictoria, address, "/api/v1/write", "/health", "victoria-metrics",
		"-httpListenAddr", address, "-storageDataPath", filepath.Join(dir, "victoria"))
}

func startPrometheus(ctx context.Context, dir string) (*receiver, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		return nil, err
	}
	return startReceiver(ctx, namePrometheus, address, "/api/v1/write", "/-/ready", "prometheus", "--web.enable-remote-write-receiver",
		"--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "prometheus"), "--web.listen-address", address)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func startReceiver(ctx context.Context, name, address, path, ready, program string, args ...string) (*receiver, error) {
	file, err := lookup(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, file, args...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &receiver{name: name, url: "http://" + address + path, pid: cmd.Process.Pid, stop: func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}}
	for range 300 {
		if resp, err := http.Get("http://" + address + ready); err == nil { //nolint:noctx // it ends when the program does
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return r, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	r.stop()
	return nil, fmt.Errorf("%s did not get ready", program)
}

// write sends all samples, each series in the order of time.
func write(ctx context.Context, r *receiver) (taken, error) {
	before, err := cpuOfOne(r.pid)
	if err != nil {
		return taken{}, err
	}
	begin := time.Now()
	newest := begin.Truncate(ingestStep)
	var wg sync.WaitGroup
	again := make([]int, ingestSenders)
	failed := make([]error, ingestSenders)
	for sender := range ingestSenders {
		wg.Go(func() {
			for round := range ingestRounds {
				at := newest.Add(time.Duration(round-ingestRounds) * ingestStep)
				for first := sender * ingestBatch; first < ingestSeries; first += ingestSenders * ingestBatch {
					n, err := r.post(ctx, remoteWrite(first, min(first+ingestBatch, ingestSeries), at))
					if again[sender] += n; err != nil {
						failed[sender] = err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	t := taken{wall: time.Since(begin)}
	for _, n := range again {
		t.again += n
	}
	time.Sleep(ingestSettle)
	after, err := cpuOfOne(r.pid)
	t.cpu = after - before
	return t, errors.Join(append(failed, err)...)
}

// cpuOfOne is the processor time of a process without those below it.
func cpuOfOne(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	p, ok := processOf(text)
	if !ok {
		return 0, fmt.Errorf("/proc/%d/stat: not as it should be", pid)
	}
	return p.cpu, nil
}

// post sends one request until it is taken.
func (r *receiver) post(ctx context.Context, body []byte) (again int, err error) {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
		if err != nil {
			return again, err
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
		if r.auth != "" {
			req.Header.Set("Authorization", r.auth)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return again, err
		}
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		_ = resp.Body.Close()
		switch {
		case resp.StatusCode/100 == 2:
			return again, nil
		case resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests:
			return again, fmt.Errorf("%s: %s", resp.Status, said)
		}
		again++
		wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		time.Sleep(time.Duration(max(wait, 1)) * time.Second)
	}
}

// remoteWrite is a body with one sample of each of some series, which look like those of machines.
func remoteWrite(from, to int, at time.Time) []byte {
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	var body, series, label []byte
	for i := from; i < to; i++ {
		series = series[:0]
		for _, l := range [][2]string{{"__name__", fmt.Sprintf("node_bench_%d_total", i%100)}, {"cpu", strconv.Itoa(i / 100 % 4)}, {"instance", fmt.Sprintf("host-%03d.example.net:9100", i/400)},
			{"job", "node"}, {"mode", "user"}, {"region", "eu-central"}} {
			label = field(field(label[:0], 1, []byte(l[0])), 2, []byte(l[1]))
			series = field(series, 1, label)
		}
		value := float64(i) + math.Mod(float64(at.Unix()), 86_400)*0.25
		point := protowire.AppendFixed64(protowire.AppendTag(label[:0], 1, protowire.Fixed64Type), math.Float64bits(value))
		point = protowire.AppendVarint(protowire.AppendTag(point, 2, protowire.VarintType), uint64(at.UnixMilli()))
		series = field(series, 2, point)
		body = field(body, 1, series)
	}
	return snappy.Encode(nil, body)
}
