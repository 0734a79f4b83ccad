package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	ticks      = 100 // in which /proc counts time, a second, on all platforms that Go has
	maxStat    = 1024
	maxCommand = 4096
	maxComm    = 15 // bytes of a name in /proc/PID/stat
	patience   = time.Second
)

// source reads /proc.
type source struct {
	root string
	page float64
	// hung is closed when the reading of a command line comes back. The memory of a process may be locked for as long as its
	// disk does not answer, and its command line lies in it.
	hung chan struct{}
}

func newSource() source { return source{root: "/proc", page: float64(os.Getpagesize())} }

func (s *source) read(ctx context.Context) (table, error) {
	t := table{}
	stat, err := s.file("stat", 1<<20)
	if err != nil {
		return t, err
	}
	for line := range strings.Lines(string(stat)) {
		switch f := strings.Fields(line); {
		case len(f) > 1 && f[0] == "processes":
			t.created, _ = strconv.ParseFloat(f[1], 64)
		case len(f) > 1 && strings.HasPrefix(f[0], "cpu") && f[0] != "cpu":
			t.cpus++
		}
	}
	t.cpus = max(t.cpus, 1)
	uptime, err := s.file("uptime", maxStat)
	if err != nil {
		return t, err
	}
	up, _, _ := strings.Cut(string(uptime), " ")
	if t.now, err = strconv.ParseFloat(up, 64); err != nil {
		return t, err
	}
	dir, err := os.Open(s.root)
	if err != nil {
		return t, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return t, err
	}
	t.processes = make([]process, 0, len(names))
	buf := make([]byte, maxStat)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if len(t.processes) == maxProcesses {
			return t, sdk.Errorf(sdk.Unsupported, "there are more than %d processes", maxProcesses)
		}
		if err := ctx.Err(); err != nil {
			return t, err
		}
		if p, ok := s.process(pid, buf); ok {
			t.processes = append(t.processes, p)
		}
	}
	return t, nil
}

// process reads one; one that has ended meanwhile is not there.
func (s *source) process(pid int, buf []byte) (process, bool) {
	f, err := os.Open(filepath.Join(s.root, strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, false
	}
	defer f.Close()
	n, err := f.Read(buf)
	if err != nil {
		return process{}, false
	}
	p, ok := parseStat(buf[:n], s.page)
	p.pid = pid
	return p, ok
}

var states = map[byte]string{
	'R': "running", 'S': "sleeping", 'D': "sleeping", 'I': "sleeping", 'P': "sleeping", 'W': "sleeping", 'K': "sleeping",
	'T': "stopped", 't': "stopped", 'Z': "defunct", 'X': "defunct", 'x': "defunct",
}

// parseStat reads /proc/PID/stat. The name stands in brackets and may hold brackets and spaces itself: it ends at the last one.
func parseStat(text []byte, page float64) (process, bool) {
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if begin < 0 || end < begin || end+2 > len(text) {
		return process{}, false
	}
	f := bytes.Fields(text[end+1:])
	const state, user, system, started, resident = 0, 11, 12, 19, 21 // counted from behind the name
	if len(f) <= resident || len(f[state]) != 1 {
		return process{}, false
	}
	p := process{name: clean(string(text[begin+1 : end])), state: states[f[state][0]]}
	numbers := [4]float64{}
	for i, at := range []int{user, system, started, resident} {
		n, err := strconv.ParseInt(string(f[at]), 10, 64)
		if err != nil || n < 0 {
			return process{}, false
		}
		numbers[i] = float64(n)
	}
	p.cpu, p.started, p.memory = (numbers[0]+numbers[1])/ticks, numbers[2]/ticks, numbers[3]*page
	return p, p.name != ""
}

// names are the whole name of a program, of which the table has the first bytes, and its command line if somebody compares with it.
func (s *source) names(ctx context.Context, p process, compare bool) (name, command string) {
	name = p.name
	if len(p.name) < maxComm && !compare {
		return name, ""
	}
	line := s.command(ctx, p.pid)
	first, _, _ := bytes.Cut(line, []byte{0})
	// A program may write there what it does; up to the first space or colon it is its name if it begins with it.
	program, _, _ := strings.Cut(string(first), ": ")
	program, _, _ = strings.Cut(program, " ")
	if base := clean(filepath.Base(program)); len(p.name) == maxComm && strings.HasPrefix(base, p.name) {
		name = base
	}
	return name, strings.TrimRight(strings.ReplaceAll(string(line), "\x00", " "), " ")
}

// command reads a command line. It gives up when it takes too long, and then for all until that reading has come back.
func (s *source) command(ctx context.Context, pid int) []byte {
	if s.hung != nil {
		select {
		case <-s.hung:
			s.hung = nil
		default:
			return nil
		}
	}
	var line []byte
	done := make(chan struct{})
	name := filepath.Join(strconv.Itoa(pid), "cmdline")
	go func() { // it ends when the kernel answers, and with the process at the latest
		defer close(done)
		line, _ = s.file(name, maxCommand)
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-done:
		return line
	case <-ctx.Done():
		s.hung = done
		return nil
	}
}

// owner adds whose process it is. The names of users stand in files that it may not read.
func (s *source) owner(_ context.Context, pid int, labels map[string]string) {
	text, err := s.file(filepath.Join(strconv.Itoa(pid), "status"), maxCommand)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(ids); len(f) > 1 {
				labels["process.user.id"] = f[1]
			}
			return
		}
	}
}

func (s *source) file(name string, most int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(s.root, name))
	if errors.Is(err, fs.ErrPermission) {
		return nil, sdk.Errorf(sdk.PermissionDenied, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
