package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/icmp"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
)

// errOptional marks a finding that leaves the agent working.
var errOptional = errors.New("")

// Doctor looks at everything that an agent needs and writes one line for each: what works, what does not, and what to
// do. It changes nothing that an agent would not change and returns whether all is well.
func Doctor(ctx context.Context, cfg Config, out io.Writer) (healthy bool, err error) {
	if err := cfg.fill(); err != nil {
		return false, err
	}
	d := &doctor{cfg: cfg, out: out, healthy: true}
	d.check("data folder", d.folder)
	d.check("disk", d.disk)
	d.check("helper programs", d.helpers)
	d.check("confinement", d.confinement)
	d.check("ceiling", d.ceiling)
	d.check("identity", d.identity)
	if d.id != nil {
		d.check("server", func() (string, error) { return d.server(ctx) })
		d.check("registry", func() (string, error) { return d.registry(ctx) })
		d.check("installed plugins", func() (string, error) { return d.installed(ctx) })
	}
	d.check("ICMP", d.icmp)
	d.running(ctx)
	for i, c := range cfg.Captures {
		d.check("capture on "+c.Interface, func() (string, error) {
			says, err := d.capture(c)
			if err == nil && i >= maxJudged {
				says += fmt.Sprintf("; detectors judge the first %d captures only, not this one", maxJudged)
			}
			return says, err
		})
	}
	return d.healthy, nil
}

type doctor struct {
	cfg     Config
	out     io.Writer
	healthy bool
	id      *Identity
	client  *client.Multi
}

func (d *doctor) check(what string, look func() (string, error)) {
	found, err := look()
	switch {
	case err == nil:
		fmt.Fprintf(d.out, "ok       %-18s %s\n", what, found)
	case errors.Is(err, errOptional):
		fmt.Fprintf(d.out, "note     %-18s %s\n", what, strings.TrimSpace(err.Error()))
	default:
		d.healthy = false
		fmt.Fprintf(d.out, "problem  %-18s %s\n", what, err)
	}
}

func (d *doctor) folder() (string, error) {
	f, err := os.CreateTemp(d.cfg.Dir, ".doctor-*")
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist yet; enrolment makes it", d.cfg.Dir)
	}
	if err != nil {
		return "", fmt.Errorf("%s is not writable: %w", d.cfg.Dir, plain(err))
	}
	f.Close()
	os.Remove(f.Name())
	info, err := os.Stat(d.cfg.Dir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may look into %s (mode %o); run: chmod 700 %s", d.cfg.Dir, info.Mode().Perm(), d.cfg.Dir)
	}
	return d.cfg.Dir, err
}

// little is how much room on the disk is too little for a queue to last.
const little = 256 << 20

func (d *doctor) disk() (string, error) {
	free, err := diskFree(d.cfg.Dir)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s cannot be looked at: %w%w", d.cfg.Dir, plain(err), errOptional)
	case free < little:
		return "", fmt.Errorf("%s are free: without the server the queue drops its oldest rows soon; make room, or move the data folder", humanBytes(free))
	}
	return humanBytes(free) + " are free", nil
}

// confinement says how far plugins are kept to what they were granted, and why not further.
func (d *doctor) confinement() (string, error) {
	c := confine.Detect()
	text := "level " + string(c.Level)
	if len(c.Reasons) == 0 {
		return text, nil
	}
	return "", fmt.Errorf("%s: %s%w", text, strings.Join(c.Reasons, "; "), errOptional)
}

// running asks the agent that works on this folder how it does.
func (d *doctor) running(ctx context.Context) {
	_, answer, err := Ask(ctx, d.cfg.Dir, http.MethodGet, "/status")
	var st Status
	if err == nil {
		err = json.Unmarshal(answer, &st)
	}
	if err != nil {
		d.check("agent", func() (string, error) { return "", fmt.Errorf("%w%w", err, errOptional) })
		return
	}
	d.check("agent", func() (string, error) {
		if st.ConfigRejected != nil {
			return "", errors.New(st.ConfigRejected.Reason)
		}
		return fmt.Sprintf("runs since %s, configuration %d", st.Started.Local().Format(time.DateTime), st.ConfigVersion), nil
	})
	d.check("queue", func() (string, error) {
		text := fmt.Sprintf("%d batches wait, %s on disk, %d rows dropped", st.Queue.Depth, humanBytes(st.Queue.Bytes), st.Queue.Dropped)
		if st.Sending.Problem != "" {
			return "", fmt.Errorf("%s; cannot send: %s", text, st.Sending.Problem)
		}
		return text, nil
	})
	for _, p := range st.Plugins {
		d.check("plugin "+p.Instance, func() (string, error) {
			if p.State != pluginhost.Ready {
				return "", fmt.Errorf("%s %s is %s: %s", p.Plugin, p.Version, p.State, p.Reason)
			}
			return fmt.Sprintf("%s %s works, %s of memory", p.Plugin, p.Version, humanBytes(p.Ledger.MemoryBytes)), nil
		})
	}
}

// helpers looks for the helper programs. One of another release would be a half-done upgrade.
func (d *doctor) helpers() (string, error) {
	for _, name := range []string{"picket-launch", "picket-wasm"} {
		if err := pluginhost.CheckHelper(d.cfg.Helpers, name); err != nil {
			return "", err
		}
	}
	return d.cfg.Helpers, nil
}

func (d *doctor) ceiling() (string, error) {
	c, err := policy.Find(d.cfg.PolicyFiles...)
	if err != nil {
		return "", err
	}
	return c.Source(), nil
}

func (d *doctor) identity() (string, error) {
	var id Identity
	path := filepath.Join(d.cfg.Dir, "identity.json")
	err := loadJSON(path, &id)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("this machine is not enrolled yet: start picket-agent once with --server URL --token TOKEN")
	}
	if err == nil {
		err = id.check()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	d.id = &id
	return fmt.Sprintf("agent %s of %s", id.AgentID, id.Server), nil
}

// server asks for something that needs no rights and then for something that needs this agent's.
func (d *doctor) server(ctx context.Context) (string, error) {
	base, err := serverURL(d.id.Server)
	if err != nil {
		return "", err
	}
	if err := secureEnough(base, d.cfg.InsecureHTTP); err != nil {
		return "", err
	}
	web, err := newHTTPClient(d.cfg.CAFile)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	s := &server{base: base, http: web, id: d.id, now: d.cfg.Now}
	if err := s.call(ctx, http.MethodGet, "/healthz", nil, nil, nil); err != nil {
		return "", fmt.Errorf("cannot reach %s: %w", d.id.Server, reach(err))
	}
	if err := s.call(ctx, http.MethodGet, "/api/v1/agent/poll", nil, nil, nil); err != nil {
		return "", fmt.Errorf("%s does not accept this agent: %w", d.id.Server, reach(err))
	}
	text := d.id.Server + " answers and knows this agent"
	if skew := time.Duration(s.offset.Load()); skew != 0 {
		text += fmt.Sprintf("; its clock differs by %s", skew.Round(time.Second))
	}
	return text, nil
}

func (d *doctor) registry(ctx context.Context) (string, error) {
	ceiling, err := policy.Find(d.cfg.PolicyFiles...)
	if err != nil {
		return "", err
	}
	c, err := openRegistry(d.cfg, *d.id, ceiling, nil)
	if err != nil {
		return "", err
	}
	d.client = c
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.Refresh(ctx); err != nil {
		return "", err
	}
	st := c.Status()
	return fmt.Sprintf("verified under the pinned root %.16s… (%s trust), fresh until %s", st.RootSHA256, st.Trust, st.Expires.Format(time.DateTime)), nil
}

func (d *doctor) installed(ctx context.Context) (string, error) {
	if d.client == nil {
		return "", errors.New("not looked at, because the registry's files cannot be read")
	}
	var names []string
	for _, in := range d.client.AllInstalled() {
		for _, runtime := range in.Runtimes {
			art, err := d.client.OpenVerified(ctx, in.ID, runtime)
			if err != nil {
				return "", err
			}
			names = append(names, fmt.Sprintf("%s %s (%s)", in.ID, in.Version, runtime))
			art.Close()
		}
	}
	if len(names) == 0 {
		return "none", nil
	}
	return strings.Join(names, ", ") + ": bytes verified", nil
}

func (d *doctor) icmp() (string, error) {
	for network, how := range map[string]string{"udp4": "ping sockets", "ip4:icmp": "raw sockets"} {
		if c, err := icmp.ListenPacket(network, "0.0.0.0"); err == nil {
			c.Close()
			return "allowed (" + how + ")", nil
		}
	}
	return "", fmt.Errorf("not allowed, so ping finds nothing: give the program CAP_NET_RAW or widen net.ipv4.ping_group_range%w", errOptional)
}

// capture opens the socket that the agent would, for a moment.
func (d *doctor) capture(c Capture) (string, error) {
	if err := pluginhost.CheckHelper(d.cfg.Helpers, "picket-traffic"); err != nil {
		return "", err
	}
	socket, err := packetsocket.Open(c.Config)
	if err != nil {
		return "", err
	}
	return "packets can be read", socket.Close()
}
