package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// mkbench grows the shared captures into the input: where it is not, the group is left out.
const (
	mkbench    = "../shared/tools/mkbench"
	benchRuns  = 5
	copiesName = "PICKET_BENCH_COPIES" // of each capture in the input, 14 when not set
)

// cost is what one run of a program took.
type cost struct {
	cpu, wall time.Duration
	rss       int64 // bytes, the peak
}

// contender reads the capture once.
type contender struct {
	name string
	run  func(ctx context.Context, capture string) (cost, error)
}

// ratio is a figure of two contenders.
type ratio struct {
	what, of, to string
	figure       func(cost) float64
	target       float64
}

func cpuOf(c cost) float64  { return c.cpu.Seconds() }
func wallOf(c cost) float64 { return c.wall.Seconds() }

const (
	nameNDPI, nameArgus, nameSoftflowd, nameNfpcapd = "ndpiReader -q", "argus", "softflowd", "nfpcapd"
	nameFlows, nameParsers, nameServer              = "picket, features", "picket, every parser", "picket, all by default"
)

// reportTraffic reads one large capture with Picket and with what else reads captures, in turn.
func reportTraffic(ctx context.Context) error {
	if _, err := os.Stat(mkbench); err != nil {
		fmt.Printf("Traffic: left out, there is no %s here\n\n", mkbench)
		return nil
	}
	dir, err := os.MkdirTemp("", "picket-bench-traffic-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	capture, err := grow(ctx, dir)
	if err != nil {
		return err
	}
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	time.Sleep(20 * time.Second) // the sample capture is analysed, the agent has enrolled

	list, done, err := contenders(dir, s)
	if err != nil {
		return err
	}
	defer done()
	runs := map[string][]cost{}
	for range benchRuns {
		for _, c := range list {
			one, err := c.run(ctx, capture)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			runs[c.name] = append(runs[c.name], one)
		}
	}
	printTraffic(list, runs)
	return nil
}

func grow(ctx context.Context, dir string) (string, error) {
	copies := os.Getenv(copiesName)
	if copies == "" {
		copies = "14"
	}
	capture := filepath.Join(dir, "bench.pcap")
	cmd := exec.CommandContext(ctx, "go", "run", ".", "-pcaps", "../../pcaps", "-copies", copies, "-o", capture)
	cmd.Dir = mkbench
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mkbench: %w\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	_, size, _ := strings.Cut(lines[len(lines)-1], ": ")
	fmt.Printf("Traffic: CPU seconds of all processes to read one capture, in turn, %d runs  (mkbench -copies %s: %s)\n", benchRuns, copies, size)
	return capture, nil
}

// contenders are the peers that are installed, and Picket.
func contenders(dir string, s *server) ([]contender, func(), error) {
	// softflowd sends what it found somewhere; nobody reads it.
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	flows := filepath.Join(dir, "nfpcapd")
	if err := os.Mkdir(flows, 0o700); err != nil {
		return nil, nil, err
	}
	var list []contender
	for _, peer := range []struct {
		name, program string
		args          func(capture string) []string
	}{
		{nameNDPI, "ndpiReader", func(f string) []string { return []string{"-q", "-i", f} }},
		{nameArgus, "argus", func(f string) []string { return []string{"-r", f, "-w", "/dev/null"} }},
		{nameSoftflowd, "softflowd", func(f string) []string { return []string{"-r", f, "-n", sink.LocalAddr().String()} }},
		{nameNfpcapd, "nfpcapd", func(f string) []string { return []string{"-r", f, "-w", flows} }},
	} {
		program, err := lookup(peer.program)
		if err != nil {
			fmt.Printf("  %s is not installed: left out\n", peer.program)
			continue
		}
		list = append(list, contender{peer.name, func(ctx context.Context, capture string) (cost, error) {
			return command(exec.CommandContext(ctx, program, peer.args(capture)...))
		}})
	}
	list = append(list,
		contender{nameFlows, worker("--features")},
		contender{nameParsers, worker("--features", "--facts", strings.Join(sdk.FactKinds, ","))},
		contender{nameServer, s.analyse},
	)
	return list, func() { _ = sink.Close() }, nil
}

// lookup also looks where Debian keeps servers, which is not on everybody's path.
func lookup(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

func command(cmd *exec.Cmd) (cost, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%w: %s", err, said.String())
	}
	used := cmd.ProcessState
	return cost{
		cpu: used.UserTime() + used.SystemTime(), wall: time.Since(began),
		rss: used.SysUsage().(*syscall.Rusage).Maxrss << 10,
	}, nil
}

// worker runs picket-traffic as the server does, and throws away what it says.
func worker(args ...string) func(context.Context, string) (cost, error) {
	return func(ctx context.Context, capture string) (cost, error) {
		in, err := os.Open(capture)
		if err != nil {
			return cost{}, err
		}
		defer in.Close()
		out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return cost{}, err
		}
		defer out.Close()
		cmd := exec.CommandContext(ctx, "bin/picket-traffic", append([]string{"--capture-fd", "3", "--out-fd", "4"}, args...)...)
		cmd.ExtraFiles = []*os.File{in, out}
		return command(cmd)
	}
}

// analyse uploads the capture and counts what all processes of the server spend from the end of the upload to the end of the
// job: server, worker, detectors, and the agent beside them.
func (s *server) analyse(ctx context.Context, capture string) (cost, error) {
	id, err := s.upload(ctx, capture)
	if err != nil {
		return cost{}, err
	}
	// The upload's own cost is no part of the comparison, but the job begins before the answer is here: a second one measures.
	if err := s.await(ctx, id, nil); err != nil {
		return cost{}, err
	}
	var c cost
	before, err := family(s.cmd.Process.Pid)
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	if err := s.post(ctx, "/api/v1/captures/"+id+"/analyse"); err != nil {
		return cost{}, err
	}
	err = s.await(ctx, id, func() {
		if now, err := family(s.cmd.Process.Pid); err == nil {
			c.rss = max(c.rss, now.rss)
		}
	})
	if err != nil {
		return cost{}, err
	}
	c.wall = time.Since(began)
	after, err := family(s.cmd.Process.Pid)
	c.cpu = after.cpu - before.cpu
	return c, err
}

func (s *server) post(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Picket-CSRF", s.csrf)
	resp, err := s.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("POST %s: %s: %s", path, resp.Status, text)
	}
	return nil
}

func (s *server) upload(ctx context.Context, capture string) (id string, err error) {
	in, err := os.Open(capture)
	if err != nil {
		return "", err
	}
	defer in.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/api/v1/captures?name=bench.pcap", in)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("X-Picket-CSRF", s.csrf)
	client := *s.Client
	client.Timeout = 0
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var stored struct{ ID, Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&stored); err != nil || stored.ID == "" {
		return "", fmt.Errorf("upload: %s %s %w", resp.Status, stored.Detail, err)
	}
	return stored.ID, nil
}

// await waits for the end of a capture's job.
func (s *server) await(ctx context.Context, id string, each func()) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if each != nil {
			each()
		}
		resp, err := s.Get(s.base + "/api/v1/captures/" + id)
		if err != nil {
			return err
		}
		var job struct{ State, Error string }
		err = json.NewDecoder(resp.Body).Decode(&job)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return err
		case job.State == "done":
			return nil
		case job.State == "failed":
			return errors.New(job.Error)
		}
	}
}

// family adds up what a process and all below it have used, those that have ended among them.
func family(root int) (cost, error) {
	parents, used := map[int]int{}, map[int]cost{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return cost{}, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		// What follows the name, which may hold anything, begins with the state.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		const parent, utime, cstime, resident, perSecond = 1, 11, 14, 21, 100
		if len(fields) <= resident {
			continue
		}
		var c cost
		for i := utime; i <= cstime; i++ {
			ticks, _ := strconv.ParseInt(fields[i], 10, 64)
			c.cpu += time.Duration(ticks) * time.Second / perSecond
		}
		pages, _ := strconv.ParseInt(fields[resident], 10, 64)
		c.rss = pages * int64(os.Getpagesize())
		parents[pid], _ = strconv.Atoi(fields[parent])
		used[pid] = c
	}
	var sum cost
	for pid, c := range used {
		for p := pid; p > 1; p = parents[p] {
			if p == root {
				sum.cpu, sum.rss = sum.cpu+c.cpu, sum.rss+c.rss
				break
			}
		}
	}
	return sum, nil
}

func printTraffic(list []contender, runs map[string][]cost) {
	for _, c := range list {
		all := runs[c.name]
		rss := slices.MaxFunc(all, func(a, b cost) int { return int(a.rss - b.rss) }).rss
		fmt.Printf("  %-30s CPU %6.2f s (least %5.2f)   wall %6.2f s (least %5.2f)   %4d MB\n", c.name,
			middle(all, cpuOf), least(all, cpuOf), middle(all, wallOf), least(all, wallOf), rss>>20)
	}
	for _, r := range []ratio{
		{"features: CPU / argus", nameFlows, nameArgus, cpuOf, 0.55},
		{"features: CPU / softflowd", nameFlows, nameSoftflowd, cpuOf, 1.2},
		{"every parser: CPU / ndpiReader", nameParsers, nameNDPI, cpuOf, 0.75},
		{"all by default: CPU / ndpiReader", nameServer, nameNDPI, cpuOf, 1},
		{"all by default: wall / ndpiReader", nameServer, nameNDPI, wallOf, 0.7},
	} {
		of, to := runs[r.of], runs[r.to]
		if len(of) == 0 || len(to) == 0 {
			continue
		}
		l := line{what: r.what + ", median", target: r.target}
		fmt.Printf("  %-62s %10.2f%s\n", l.what, middle(of, r.figure)/middle(to, r.figure), l.verdict(middle(of, r.figure)/middle(to, r.figure)))
		fmt.Printf("  %-62s %10.2f\n", r.what+", least", least(of, r.figure)/least(to, r.figure))
	}
	fmt.Println()
}

func sorted(all []cost, figure func(cost) float64) []float64 {
	var list []float64
	for _, c := range all {
		list = append(list, figure(c))
	}
	slices.Sort(list)
	return list
}

func middle(all []cost, figure func(cost) float64) float64 {
	return sorted(all, figure)[len(all)/2]
}

func least(all []cost, figure func(cost) float64) float64 { return sorted(all, figure)[0] }
