package analyzecmd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// plugins runs detectors of the registry as the server does: verified, launched and supervised.
type plugins struct {
	client  *client.Client
	wanted  []string // ids
	locked  bool     // the registry does not answer: run what is installed
	runtime string
	helpers string
	dir     string
	state   string // of the detectors, when not below dir
	config  []byte // theirs; nil for the defaults

	host    *pluginhost.Host
	running []*running
}

// running is a started detector and what it said about the current capture.
type running struct {
	pluginhost.Detector
	wants      sdk.Subscription
	generation uint64
	findings   sink
}

// batchFor is how many flows go into one frame.
func batchFor(runtime string) int {
	if runtime == pluginhost.RuntimeWASM {
		return records.BatchGuest
	}
	return records.BatchProcess
}

func dirOf(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	return filepath.Dir(path)
}

// openPlugins verifies the registry and chooses the detectors.
func openPlugins(ctx context.Context, base, runtime string, names []string) (*plugins, error) {
	helpers, err := executableDir()
	if err != nil {
		return nil, err
	}
	if base == "" {
		base = filepath.Join(helpers, "registry")
		if _, err := os.Stat(base); err != nil {
			return nil, fmt.Errorf("no registry beside this program (%s): run 'make build', or name one with --registry", base)
		}
	}
	cfg := client.Config{Base: base, RootSHA256: config.RootSHA256, AllowDevelopment: true, Release: config.IsRelease()}
	identity := base + config.RootSHA256
	if cfg.RootSHA256 == "" && strings.Contains(base, "://") {
		return nil, errors.New("a registry on the network needs a pinned root of trust, which only distributed builds have: name a folder")
	}
	if cfg.RootSHA256 == "" {
		// The root that lies in the registry folder is trusted like this program, which lies beside it.
		cfg.RootFile = filepath.Join(base, "metadata", "root.json")
		root, err := os.ReadFile(cfg.RootFile)
		if err != nil {
			return nil, fmt.Errorf("open registry %s: it must be a folder that 'picket registry init' made: %w", base, err)
		}
		identity = string(root)
	}
	dir, err := stateDir(identity)
	if err != nil {
		return nil, err
	}
	cfg.Dir = filepath.Join(dir, "registry")
	c, err := client.Open(cfg)
	if err != nil {
		return nil, err
	}
	p := &plugins{client: c, runtime: runtime, helpers: helpers, dir: dir}
	if err := p.choose(ctx, names); err != nil {
		c.Close()
		return nil, err
	}
	return p, nil
}

// stateDir is a folder of the user for one root of trust: another root starts from nothing instead of being refused.
func stateDir(identity string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for verified plugins: %w; name one by XDG_CACHE_HOME", err)
	}
	sum := sha256.Sum256([]byte(identity))
	dir := filepath.Join(cache, "picket", "analyze", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for verified plugins: %w; name one that this user may write in by XDG_CACHE_HOME", err)
	}
	return dir, nil
}

// choose lists the detectors to run, all or those named by id or by name.
func (p *plugins) choose(ctx context.Context, names []string) error {
	available, err := p.available(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(available, func(id string) bool { return named(id, []string{name}) }) {
			return usage.Errorf("no detector %q in the registry, which has %s", name, strings.Join(available, ", "))
		}
	}
	for _, id := range available {
		if len(names) == 0 || named(id, names) {
			p.wanted = append(p.wanted, id)
		}
	}
	if len(p.wanted) == 0 {
		return errors.New("the registry has no detector")
	}
	return nil
}

// available asks the registry, and when that cannot vouch for itself (it is away, its signatures are out of date) takes
// what was verified and locked before: that needs nobody's word.
func (p *plugins) available(ctx context.Context) ([]string, error) {
	ids := map[string]bool{}
	err := p.client.Refresh(ctx)
	if err == nil {
		releases, err := p.client.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range releases {
			if r.Descriptor != nil && r.Descriptor.Manifest.Kind == sdk.KindDetector && r.Revoked == nil {
				ids[r.ID] = true
			}
		}
		return slices.Sorted(maps.Keys(ids)), nil
	}
	for _, i := range p.client.AllInstalled() {
		if i.Descriptor != nil && i.Descriptor.Manifest.Kind == sdk.KindDetector && slices.Contains(i.Runtimes, p.runtime) {
			ids[i.Descriptor.Manifest.ID] = true
		}
	}
	if len(ids) == 0 {
		return nil, err
	}
	p.locked = true
	return slices.Sorted(maps.Keys(ids)), nil
}

func named(id string, names []string) bool {
	_, short, _ := strings.Cut(id, "/")
	return slices.Contains(names, id) || slices.Contains(names, short)
}

// start installs and starts the detectors.
func (p *plugins) start(ctx context.Context) error {
	ceiling, err := policy.Find("/etc/picket/policy.yaml")
	if err != nil {
		return err
	}
	p.host, err = pluginhost.New(pluginhost.Config{
		Dir: cmp.Or(p.state, filepath.Join(p.dir, "plugins")), Helpers: p.helpers, Registry: p.client, Ceiling: ceiling,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	config := p.config
	if config == nil {
		config = []byte("{}")
	}
	var assignments []pluginhost.Assignment
	for _, id := range p.wanted {
		installed, err := p.install(ctx, id)
		if err != nil {
			return err
		}
		assignments = append(assignments, pluginhost.Assignment{
			Instance: "analyze:" + id, Plugin: id, Runtime: p.runtime, Config: config,
			Grants: installed.Descriptor.Manifest.Permissions,
		})
	}
	if err := p.host.Apply(ctx, assignments); err != nil {
		return err
	}
	for _, a := range assignments {
		if err := p.host.WaitReady(ctx, a.Instance); err != nil {
			return fmt.Errorf("start detector %s: %w", a.Plugin, err)
		}
	}
	for _, d := range p.host.Detectors() {
		p.running = append(p.running, &running{Detector: d, wants: d.Subscription(), generation: d.Generation()})
	}
	return nil
}

func (p *plugins) install(ctx context.Context, id string) (*client.Installed, error) {
	if p.locked {
		if installed, ok := p.client.Installed(id); ok {
			return installed, nil
		}
	}
	return p.client.Install(ctx, id, "", p.runtime)
}

// Ready starts the detectors and returns what they subscribed to.
func (p *plugins) Ready(ctx context.Context, capture string) (wanted, error) {
	if p.host == nil {
		if err := p.start(ctx); err != nil {
			return wanted{}, err
		}
	}
	var w wanted
	for _, r := range p.running {
		w.features = w.features || r.wants.Features
		for _, kind := range r.wants.Facts {
			if !slices.Contains(w.facts, kind) {
				w.facts = append(w.facts, kind)
			}
		}
		if r.wants.Packets == nil {
			continue
		}
		tap, err := traffic.NewTap(*r.wants.Packets, func(packets []sdk.Packet) error {
			return r.inspect(ctx, capture, records.AppendPackets(nil, packets))
		})
		if err != nil {
			return wanted{}, err
		}
		w.taps = append(w.taps, tap)
	}
	return w, nil
}

// Inspect gives the flows to all detectors that want flows at the same time and waits for the slowest: offline analysis
// never drops. The frame is new each time, because the host keeps it for a detector that has to be told again.
func (p *plugins) Inspect(ctx context.Context, capture string, flows []sdk.Flow) error {
	frame, plain := records.AppendFlows(nil, flows), records.AppendShortFlows(nil, flows)
	return p.each(func(r *running) error {
		switch {
		case !r.wants.Flows:
			return nil
		case r.wants.Features:
			return r.Inspect(ctx, capture, frame, &r.findings)
		}
		return r.Inspect(ctx, capture, plain, &r.findings)
	})
}

// Facts is Inspect for a frame of facts of one kind, which is the caller's.
func (p *plugins) Facts(ctx context.Context, capture, kind string, facts []byte) error {
	frame := bytes.Clone(facts)
	return p.each(func(r *running) error {
		if !slices.Contains(r.wants.Facts, kind) {
			return nil
		}
		return r.Inspect(ctx, capture, frame, &r.findings)
	})
}

func (r *running) inspect(ctx context.Context, capture string, frame []byte) error {
	if err := r.Inspect(ctx, capture, frame, &r.findings); err != nil {
		return fmt.Errorf("detector %s: %w", r.Plugin(), err)
	}
	return nil
}

// Finish ends a capture and returns its findings, ordered by time.
func (p *plugins) Finish(ctx context.Context) ([]sdk.Finding, error) {
	err := p.each(func(r *running) error { return r.Flush(ctx, &r.findings) })
	var out []sdk.Finding
	for _, r := range p.running {
		out = append(out, r.findings.take()...)
	}
	return ordered(out), err
}

func (p *plugins) each(call func(*running) error) error {
	errs := make([]error, len(p.running))
	var wg sync.WaitGroup
	for i, r := range p.running {
		wg.Go(func() {
			err := call(r)
			if err == nil && r.Generation() != r.generation {
				err = errors.New("it was restarted and has forgotten the first part")
			}
			if err != nil {
				errs[i] = fmt.Errorf("detector %s: %w", r.Plugin(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ordered sorts findings by time. Of those with the same id the last one stays: a detector tells of the same thing again
// when it knows more.
func ordered(list []sdk.Finding) []sdk.Finding {
	at := map[string]int{}
	var out []sdk.Finding
	for _, f := range list {
		if f.ID == "" {
			f.ID = sdk.FindingID(f)
		}
		if i, known := at[f.ID]; known {
			out[i] = f
			continue
		}
		at[f.ID] = len(out)
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b sdk.Finding) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Detector, b.Detector), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// stopWithin is how long detectors may take to end by themselves.
const stopWithin = 5 * time.Second

// Close stops the detectors.
func (p *plugins) Close() {
	if p.host != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		p.host.Stop(ctx)
	}
	p.client.Close()
}

// sink collects the findings of one detector.
type sink struct {
	mu   sync.Mutex
	list []sdk.Finding
}

func (s *sink) Finding(f sdk.Finding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, f)
	return nil
}

func (s *sink) take() []sdk.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.list
	s.list = nil
	return out
}
