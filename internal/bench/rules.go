package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	sharedRules = "../shared/data/rules"
	nameRules   = "picket, rules, carving, YARA"
)

// rulesPolicy lets detectors read the rule files, which nobody is let without the owner's word.
const rulesPolicy = `apiVersion: picket/v1
permissions:
  - {cap: flows.read}
  - {cap: facts.read}
  - {cap: packets.read}
  - {cap: files.read}
  - {cap: devices.read}
  - {cap: host.metrics}
  - {cap: state}
  - {cap: fs.read, args: {paths: [/proc, /sys, %q]}}
`

// reportRules reads one large capture with all that is on by default, the public rules of Suricata over its packets, and those of YARA
// over the files in it.
func reportRules(ctx context.Context) error {
	for _, needed := range []string{mkbench, sharedRules} {
		if _, err := os.Stat(needed); err != nil {
			fmt.Printf("Rules: left out, there is no %s here\n\n", needed)
			return nil
		}
	}
	dir, err := os.MkdirTemp("", "picket-bench-rules-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	capture := filepath.Join(dir, "bench.pcap")
	size, err := grow(ctx, capture, benchCopies)
	if err != nil {
		return err
	}
	fmt.Printf("Rules: CPU seconds of all processes to read one capture with rules of Suricata and YARA, %d runs  (mkbench -copies %d: %s)\n", benchRuns, benchCopies, size)
	suricata, err := gather(filepath.Join(dir, "suricata.rules"), filepath.Join(sharedRules, "suricata"), ".rules", ".rules.gz")
	if err != nil {
		return err
	}
	yara, err := gather(filepath.Join(dir, "yara.yar"), filepath.Join(sharedRules, "yara"), ".yar", ".yara")
	if err != nil {
		return err
	}
	s, err := startServer(ctx, fmt.Sprintf(rulesPolicy, dir))
	if err != nil {
		return err
	}
	defer s.stop()
	if err := errors.Join(s.enableRules(ctx, "picket/ids-rules", suricata), s.enableRules(ctx, "picket/malware", yara)); err != nil {
		return err
	}
	return s.measureRules(ctx, dir, capture)
}

func (s *server) measureRules(ctx context.Context, dir, capture string) error {
	list, done, err := peers(dir)
	if err != nil {
		return err
	}
	defer done()
	list = slices.DeleteFunc(list, func(c contender) bool { return c.name != nameNDPI })
	time.Sleep(settle)
	id, err := s.upload(ctx, capture)
	if err != nil {
		return err
	}
	last, _, err := s.await(ctx, id)
	if err != nil {
		return err
	}
	list = append(list, contender{nameRules, func(ctx context.Context, _ string) (c cost, err error) {
		last, c, err = s.analyse(ctx, id)
		return c, err
	}})
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
	fmt.Printf("  findings %d\n\n", last.Findings)
	return nil
}

// enableRules runs a detector with a file of rules.
func (s *server) enableRules(ctx context.Context, plugin, file string) error {
	wish, err := json.Marshal(map[string]any{"grants": "all", "config": map[string]any{"rules": []string{file}}})
	if err != nil {
		return err
	}
	path := "/api/v1/plugins/" + plugin
	if err := s.post(ctx, path+"/enable", string(wish)); err != nil {
		return err
	}
	return s.until(ctx, "runs "+plugin, func() bool { return slices.Equal(s.states(ctx, path), []string{"ready"}) })
}

// gather puts all rule files below a folder into one, but those that show how odd a file may be.
func gather(to, from string, suffixes ...string) (string, error) {
	out, err := os.Create(to)
	if err != nil {
		return "", err
	}
	err = filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		odd := strings.Contains(path, "/edge/")
		if err != nil || e.IsDir() || odd || !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(path, s) }) {
			return err
		}
		return appendRules(out, path)
	})
	return to, errors.Join(err, out.Close())
}

func appendRules(out io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = io.WriteString(out, "\n")
	return err
}
