package service

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
)

// machine is a host whose system bus lies at another path, or nowhere.
type machine struct {
	sdk.Host
	bus   string
	now   time.Time
	dials int
}

func (m *machine) Now() time.Time    { return m.now }
func (m *machine) Log() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (m *machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.dials++
	if m.bus == "" {
		return nil, sdk.Errorf(sdk.PermissionDenied, "no grant of unix.connect allows %s", address)
	}
	if network != "unix" || address != socket {
		return nil, fmt.Errorf("dialled %s %s", network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, m.bus)
}

func start(t *testing.T, config string, m *machine) *Collector {
	t.Helper()
	c := New()
	plugintest.Configure(t, c, config)
	c.groups = filepath.Join("testdata", "none")
	m.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := c.Start(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// recorder gathers values by "unit state" or "unit".
type recorder map[string]float64

func (r recorder) Sample(s sdk.Sample) error {
	key := strings.TrimSpace(s.Labels["systemd.unit.name"] + " " + s.Labels["systemd.unit.active_state"])
	if _, twice := r[key]; twice {
		return fmt.Errorf("%s was emitted twice", key)
	}
	r[key] = s.Value
	return nil
}

func collect(t *testing.T, c *Collector) recorder {
	t.Helper()
	got := recorder{}
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func (r recorder) want(t *testing.T, lines ...string) {
	t.Helper()
	var got []string
	for key, value := range r {
		got = append(got, fmt.Sprint(key, " ", value))
	}
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// standIn answers as systemd does, on a real bus.
type standIn struct {
	mu    sync.Mutex // guards units
	units []row
}

type row struct {
	Name, Description, Load, Active, Sub, Follows string
	Path                                          dbus.ObjectPath
	Job                                           uint32
	JobType                                       string
	JobPath                                       dbus.ObjectPath
}

func (s *standIn) set(units map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units = nil
	for name, state := range units {
		load := "loaded"
		if rest, missing := strings.CutPrefix(state, "not-found "); missing {
			load, state = "not-found", rest
		}
		s.units = append(s.units, row{Name: name, Load: load, Active: state, Path: "/unit", JobPath: "/"})
	}
}

// ListUnitsByPatterns is systemd's.
func (s *standIn) ListUnitsByPatterns(_, patterns []string) ([]row, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(patterns, []string{"*.service"}) {
		return nil, dbus.NewError("wrong", nil)
	}
	return s.units, nil
}

type properties struct{}

// Get is that of properties.
func (properties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	if name != "NRestarts" {
		return dbus.Variant{}, dbus.NewError("wrong", nil)
	}
	return dbus.MakeVariant(uint32(3)), nil
}

// realBus starts a bus of its own, on which the stand-in is.
func realBus(t *testing.T) (path string, s *standIn) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon (Debian package dbus-daemon)")
	}
	dir := t.TempDir()
	path = filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "conf")
	text := `<busconfig><listen>unix:path=` + path + `</listen><auth>EXTERNAL</auth><policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--nofork", "--nopidfile", "--print-address=1", "--config-file="+conf)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // then it listens
		t.Fatal(err)
	}
	conn, err := dbus.Connect("unix:path=" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s = &standIn{}
	if err := conn.Export(s, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Export(properties{}, "/unit", "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		t.Fatal(err)
	}
	return path, s
}

func TestSystemd(t *testing.T) {
	path, systemd := realBus(t)
	c := start(t, `{"watched": ["web", "missing"]}`, &machine{bus: path})
	systemd.set(map[string]string{
		"web.service": "active", "bad.service": "failed", "idle.service": "inactive", "gone.service": "not-found inactive", "user@0.service": "active",
	})
	collect(t, c).want(t, "web.service 3", "web.service active 1", "web.service failed 0", "bad.service active 0", "bad.service failed 1",
		"missing.service active 0", "missing.service failed 0", "missing.service inactive 1")

	systemd.set(map[string]string{"web.service": "deactivating", "bad.service": "active"})
	collect(t, c).want(t, "web.service 3", "web.service active 0", "web.service failed 0", "web.service deactivating 1", "bad.service active 1",
		"bad.service failed 0", "missing.service active 0", "missing.service failed 0", "missing.service inactive 1")

	systemd.set(map[string]string{"web.service": "failed"}) // of the other systemd knows nothing any more
	collect(t, c).want(t, "web.service 3", "web.service active 0", "web.service failed 1", "web.service deactivating 0",
		"bad.service active 0", "bad.service failed 0", "bad.service inactive 1",
		"missing.service active 0", "missing.service failed 0", "missing.service inactive 1")
	if got := collect(t, c); len(got) == 0 || got["bad.service inactive"] != 0 { // told once: names that come and go are without end
		t.Errorf("%v", got)
	}
	if _, known := c.was["bad.service"]; known {
		t.Error("a service that nobody knows any more is remembered")
	}
}

func TestTooManyServices(t *testing.T) {
	path, systemd := realBus(t)
	c := start(t, `{"watched": ["z"]}`, &machine{bus: path})
	units := map[string]string{"z.service": "failed"}
	for i := range maxUnits + 9 {
		units[fmt.Sprintf("s%d.service", i)] = "active"
	}
	systemd.set(units)
	got := recorder{}
	err := c.Collect(t.Context(), sdk.CollectRequest{}, got)
	if sdk.ClassOf(err) != sdk.Unsupported || !strings.Contains(err.Error(), "10 services more") {
		t.Errorf("%v", err)
	}
	if len(got) != 2*maxUnits+1 || got["z.service failed"] != 1 {
		t.Errorf("%d samples", len(got))
	}
}

// A bus that accepts and says nothing costs a collection its patience, and the next ones nothing.
func TestSilentBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := &machine{bus: path}
	c := start(t, `{}`, m)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Collect(ctx, sdk.CollectRequest{}, recorder{}); err != nil {
		t.Error(err)
	}
	collect(t, c)
	if m.dials != 1 {
		t.Errorf("dialled %d times", m.dials)
	}
	m.now = m.now.Add(again)
	c.connect(ctx, m)
	if m.dials != 2 {
		t.Errorf("dialled %d times", m.dials)
	}
}

func TestControlGroups(t *testing.T) {
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for version, hierarchy := range map[string]string{"2": "", "1": "systemd", "both": "unified"} {
		t.Run(version, func(t *testing.T) {
			c := start(t, `{"watched": ["absent"]}`, &machine{})
			c.groups = t.TempDir()
			root := filepath.Join(c.groups, hierarchy, "system.slice")
			file, runs, empty := "cgroup.events", "populated 1\nfrozen 0\n", "populated 0\nfrozen 0\n"
			if version == "1" {
				file, runs, empty = "cgroup.procs", "17\n", ""
			}
			write(filepath.Join(root, "web.service", file), runs)
			write(filepath.Join(root, "old.service", file), empty)
			write(filepath.Join(root, "system-getty.slice", "getty@tty1.service", file), runs)
			write(filepath.Join(root, "init.scope", file), runs)
			collect(t, c).want(t, "web.service active 1", "old.service active 0", "getty@tty1.service active 1", "absent.service active 0")
			if err := os.RemoveAll(filepath.Join(root, "web.service")); err != nil {
				t.Fatal(err)
			}
			collect(t, c).want(t, "web.service active 0", "old.service active 0", "getty@tty1.service active 1", "absent.service active 0")
		})
	}
}

func TestNoSystemd(t *testing.T) {
	m := &machine{}
	c := start(t, `{"watched": ["web"]}`, m)
	for range 3 {
		collect(t, c).want(t)
	}
	if m.dials != 1 {
		t.Errorf("dialled %d times", m.dials)
	}
}

// TestRealSystemd asks the systemd whose bus is named, for example that of a container, and compares with systemctl there.
func TestRealSystemd(t *testing.T) {
	path := os.Getenv("PICKET_TEST_SYSTEM_BUS")
	if path == "" {
		t.Skip("needs PICKET_TEST_SYSTEM_BUS, the socket of a system bus")
	}
	c := start(t, `{"exclude": []}`, &machine{bus: path})
	got := collect(t, c)
	cmd := exec.CommandContext(t.Context(), "busctl", "--address=unix:path="+path, "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager", "ListUnitsFiltered", "as", "2", "active", "failed")
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	services := map[string]bool{}
	for _, f := range strings.Split(string(text), "\"") {
		if strings.HasSuffix(f, ".service") && !strings.Contains(f, "/") {
			services[f] = true
			if got[f+" active"]+got[f+" failed"] != 1 {
				t.Errorf("%s is missing", f)
			}
		}
	}
	told := 0.0
	for key, value := range got {
		if strings.HasSuffix(key, " active") || strings.HasSuffix(key, " failed") {
			told += value
		}
	}
	t.Logf("%d services: %v", len(services), got)
	if len(services) == 0 || int(told) != len(services) {
		t.Errorf("%v told, systemd has %d", told, len(services))
	}
}
