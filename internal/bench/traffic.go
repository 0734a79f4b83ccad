package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	mkbench  = "../shared/tools/mkbench" // grows the shared captures into the input
	settle   = 20 * time.Second          // until the sample capture is analysed and the agent has enrolled
	megabyte = 1 << 20
)

// What the environment may ask for.
var (
	benchCopies = setting("PICKET_BENCH_COPIES", 14) // of each shared capture in the input
	benchRuns   = setting("PICKET_BENCH_RUNS", 5)    // of each program
	benchScale  = setting("PICKET_BENCH_SCALE", 1)   // 10 also analyses ten times the input, for its memory, which takes minutes
)

func setting(name string, preset int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return preset
}

// reportTraffic reads one large capture with Picket and with what else reads captures, in turn; then it floods the server with
// flows, and at last replays stored flows. Without the tool that makes the input it is left out.
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
	capture := filepath.Join(dir, "bench.pcap")
	size, err := grow(ctx, capture, benchCopies)
	if err != nil {
		return err
	}
	fmt.Printf("Traffic: CPU seconds of all processes to read one capture, in turn, %d runs  (mkbench -copies %d: %s)\n", benchRuns, benchCopies, size)
	if err := measureTraffic(ctx, dir, capture); err != nil {
		return err
	}
	return replayed(capture).report(ctx)
}

// grow makes the input, and says how large it is.
func grow(ctx context.Context, capture string, copies int) (size string, err error) {
	cmd := exec.CommandContext(ctx, "go", "run", ".", "-pcaps", "../../pcaps", "-copies", strconv.Itoa(copies), "-o", capture)
	cmd.Dir = mkbench
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mkbench: %w\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	_, size, _ = strings.Cut(lines[len(lines)-1], ": ")
	return size, nil
}

func measureTraffic(ctx context.Context, dir, capture string) error {
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.publishPack(ctx); err != nil {
		return err
	}
	list, done, err := peers(dir)
	if err != nil {
		return err
	}
	defer done()
	time.Sleep(settle)
	j, own, err := s.contenders(ctx, capture)
	if err != nil {
		return err
	}
	list = append(append(list, workers()...), own...)
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
	if err := printAccounts(ctx, *j, capture); err != nil {
		return err
	}
	return s.measureMemory(ctx, dir, peak(runs[namePack]).peak)
}

// contenders are the server with its default detectors, and with the reference pack beside them. The upload is no part of what
// is compared: the server has the capture by then, and has analysed it once. job is what the last of them said.
func (s *server) contenders(ctx context.Context, capture string) (last *job, list []contender, err error) {
	id, err := s.upload(ctx, capture)
	if err != nil {
		return nil, nil, err
	}
	last = new(job)
	if *last, _, err = s.await(ctx, id); err != nil {
		return nil, nil, err
	}
	analyse := func(ctx context.Context, _ string) (c cost, err error) {
		*last, c, err = s.analyse(ctx, id)
		return c, err
	}
	return last, []contender{
		{nameServer, analyse},
		{namePack, func(ctx context.Context, capture string) (cost, error) {
			if err := s.enablePack(ctx); err != nil {
				return cost{}, err
			}
			// The pack has seen the capture once too, as the default detectors have: its process has just been started.
			_, first := analyse(ctx, capture)
			c, err := analyse(ctx, capture)
			return c, cmp.Or(first, err, s.disablePack(ctx))
		}},
	}, nil
}

// ratio is a figure of two contenders.
type ratio struct {
	what, of, to string
	figure       func(cost) float64
	target       float64
}

func cpuOf(c cost) float64  { return c.cpu.Seconds() }
func wallOf(c cost) float64 { return c.wall.Seconds() }

var ratios = []ratio{
	{"features: CPU / argus", nameFlows, nameArgus, cpuOf, 0.55},
	{"features: CPU / softflowd", nameFlows, nameSoftflowd, cpuOf, 1.2},
	{"every parser: CPU / ndpiReader", nameParsers, nameNDPI, cpuOf, 0.75},
	{"all by default: CPU / ndpiReader", nameServer, nameNDPI, cpuOf, 1},
	{"all by default: wall / ndpiReader", nameServer, nameNDPI, wallOf, 0.7},
	{"all and twelve detectors: CPU / ndpiReader", namePack, nameNDPI, cpuOf, 1},
	{"all and twelve detectors: wall / ndpiReader", namePack, nameNDPI, wallOf, 0.7},
	{"with rules, carving, YARA: CPU / ndpiReader", nameRules, nameNDPI, cpuOf, 2},
}

func printTraffic(list []contender, runs map[string][]cost) {
	for _, c := range list {
		all := runs[c.name]
		fmt.Printf("  %-34s CPU %6.2f s (least %5.2f)   wall %6.2f s (least %5.2f)   %s\n", c.name,
			middle(all, cpuOf), least(all, cpuOf), middle(all, wallOf), least(all, wallOf), memory(peak(all)))
	}
	for _, r := range ratios {
		of, to := runs[r.of], runs[r.to]
		if len(of) == 0 || len(to) == 0 {
			continue
		}
		figure := middle(of, r.figure) / middle(to, r.figure)
		fmt.Printf("  %-62s %9.2f ×%s   (of the least: %.2f)\n", r.what, figure, line{target: r.target}.verdict(figure), least(of, r.figure)/least(to, r.figure))
	}
}

// memory is a peak in words.
func memory(c cost) string {
	if c.peak.pss == 0 {
		return fmt.Sprintf("%4d MB", c.rss/megabyte)
	}
	return fmt.Sprintf("%4d MB (RSS together %d MB)", c.peak.pss/megabyte, c.rss/megabyte)
}

// peak is the largest memory of all runs.
func peak(all []cost) (most cost) {
	for _, c := range all {
		most.rss = max(most.rss, c.rss)
		if c.peak.pss > most.peak.pss {
			most.peak = c.peak
		}
	}
	return most
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

// printAccounts compares the packets that have an outcome with those in the file, as capinfos counts them.
func printAccounts(ctx context.Context, j job, capture string) error {
	program, err := lookup("capinfos")
	if err != nil {
		fmt.Println("  packets accounted for: left out, capinfos is not installed")
		return nil
	}
	// A table of one line: the name and the number.
	out, err := exec.CommandContext(ctx, program, "-T", "-r", "-M", "-c", capture).Output()
	if err != nil {
		return fmt.Errorf("capinfos: %w", err)
	}
	fields := strings.Fields(string(out))
	packets, err := strconv.ParseUint(fields[len(fields)-1], 10, 64)
	if err != nil {
		return fmt.Errorf("capinfos: %w", err)
	}
	printExact("packets accounted for, by outcome / of capinfos", j.accounted(), packets)
	return nil
}

func printExact(what string, got, want uint64) {
	verdict := "met, all"
	if got != want {
		verdict = fmt.Sprintf("MISSED by %d", int64(got-want))
	}
	fmt.Printf("  %-62s %22s   %s\n", what, fmt.Sprintf("%d / %d", got, want), verdict)
}

// measureMemory prints the memory that the capture took, that more of the same takes, and last what a flood takes: a server keeps
// some of what it once had.
func (s *server) measureMemory(ctx context.Context, dir string, usual held) error {
	printMemory("memory of all processes, all and twelve detectors", usual, 300)
	if err := s.enablePack(ctx); err != nil {
		return err
	}
	if benchScale > 1 {
		if err := s.measureScale(ctx, filepath.Join(dir, "large.pcap"), usual); err != nil {
			return err
		}
	}
	flood := filepath.Join(dir, "flood.pcap")
	if err := writeFlood(flood, floodFlows); err != nil {
		return err
	}
	j, c, err := s.uploaded(ctx, flood)
	if err != nil {
		return err
	}
	printMemory("memory of all processes, 1 M flows of one packet", c.peak, 600)
	printExact("packets of those accounted for", j.accounted(), floodFlows)
	printExact("flows of those", j.Flows, floodFlows)
	return nil
}

func (s *server) measureScale(ctx context.Context, large string, usual held) error {
	if _, err := grow(ctx, large, benchCopies*benchScale); err != nil {
		return err
	}
	_, c, err := s.uploaded(ctx, large)
	if err != nil {
		return err
	}
	figure := float64(c.peak.pss) / float64(usual.pss)
	fmt.Printf("  %-62s %9.2f ×%s   (%d MB / %d MB)\n", fmt.Sprintf("memory at %d times the input / memory", benchScale), figure,
		line{target: 1.15}.verdict(figure), c.peak.pss/megabyte, usual.pss/megabyte)
	return nil
}

func (s *server) uploaded(ctx context.Context, capture string) (job, cost, error) {
	id, err := s.upload(ctx, capture)
	if err != nil {
		return job{}, cost{}, err
	}
	return s.await(ctx, id)
}

func printMemory(what string, h held, target float64) {
	figure := float64(h.pss / megabyte)
	fmt.Printf("  %-62s %19.0f MB%s\n    (%s)\n", what, figure, line{target: target}.verdict(figure), h)
}
