package processtest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/inventory"
	"github.com/picketwatch/picket/plugins/discovery/arp"
	"github.com/picketwatch/picket/plugins/discovery/mdns"
	"github.com/picketwatch/picket/plugins/discovery/netbios"
	"github.com/picketwatch/picket/plugins/discovery/ping"
	"github.com/picketwatch/picket/plugins/discovery/ssdp"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// box is a machine of the lab: a network namespace of its own behind one bridge, with a program that makes it what it is.
type box struct {
	name, card string // card: its hardware address
	ips        []string
	run        func(l *lab, b box, folder string)
	facts      map[string]string // that must be known
}

type lab struct {
	t       *testing.T
	control *store.Control
}

// boxes are what is to be found, each as one device.
var boxes = []box{
	{"printer-hall", "52:54:00:00:00:11", []string{"192.0.2.11"}, (*lab).avahi, map[string]string{"role": "printer", "ports": "631/tcp"}},
	{"files-hall", "52:54:00:00:00:12", []string{"192.0.2.12"}, (*lab).samba, map[string]string{"ports": "445/tcp"}},
	{"films-hall", "52:54:00:00:00:13", []string{"192.0.2.13"}, (*lab).films, map[string]string{"upnp_device": "MediaServer", "name": "films-hall"}},
	{"two-doors", "52:54:00:00:00:14", []string{"192.0.2.14", "192.0.2.15"}, (*lab).avahi, nil},
	{"mover", "52:54:00:00:00:16", []string{"192.0.2.16"}, (*lab).avahi, nil},
}

// TestBoxesAreDevices asks a lab of real daemons by each discovery that asks, and the inventory makes one device of each box: also of
// the one with two addresses, and of the one whose address changes.
func TestBoxesAreDevices(t *testing.T) {
	if os.Getenv("PICKET_LAB") == "" {
		t.Skip("make lab-devices runs it")
	}
	if !plugintest.InNetwork(t, []string{"198.51.100.1/24"}, []string{"198.51.100.2/24"}) {
		return
	}
	l := newLab(t)
	plugintest.IP(t, "link", "add", "lab0", "type", "bridge")
	plugintest.IP(t, "address", "add", "192.0.2.1/24", "dev", "lab0")
	plugintest.IP(t, "link", "set", "lab0", "up")
	for i, b := range boxes {
		l.plug(i, b)
		b.run(l, b, t.TempDir())
	}
	end := time.Now().Add(60 * time.Second)
	for l.round(); ; l.round() {
		wrong := l.wrong(boxes)
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s\n%s", strings.Join(wrong, "\n"), l.list())
		}
	}
	moved := slices.Clone(boxes)
	last := &moved[len(moved)-1]
	last.ips = []string{"192.0.2.16", "192.0.2.26"}
	plugintest.IP(t, "-n", l.ns(*last), "address", "del", "192.0.2.16/24", "dev", "eth0")
	plugintest.IP(t, "-n", l.ns(*last), "address", "add", "192.0.2.26/24", "dev", "eth0")
	for end := time.Now().Add(60 * time.Second); ; {
		l.round()
		wrong := l.wrong(moved)
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after it moved: %s\n%s", strings.Join(wrong, "\n"), l.list())
		}
	}
	t.Logf("\n%s", l.list())
}

func newLab(t *testing.T) *lab {
	t.Helper()
	control, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(t.TempDir(), "control.db"), KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	return &lab{t, control}
}

func (l *lab) ns(b box) string { return fmt.Sprintf("picket-%d-%s", os.Getpid(), b.name) }

func (l *lab) plug(i int, b box) {
	t, ns, far := l.t, l.ns(b), fmt.Sprint("lab", i+1)
	plugintest.IP(t, "netns", "add", ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	plugintest.IP(t, "link", "add", far, "type", "veth", "peer", "name", "eth0", "address", b.card, "netns", ns)
	plugintest.IP(t, "link", "set", far, "master", "lab0", "up")
	plugintest.IP(t, "-n", ns, "link", "set", "lo", "up")
	plugintest.IP(t, "-n", ns, "link", "set", "eth0", "up")
	for _, ip := range b.ips {
		plugintest.IP(t, "-n", ns, "address", "add", ip+"/24", "dev", "eth0")
	}
}

// start runs a program on a box, under the name of the box, until the test ends.
func (l *lab) start(b box, name string, args ...string) {
	if _, err := exec.LookPath(name); err != nil {
		l.t.Skipf("needs the program %s", name)
	}
	text := `hostname "$0" && exec "$@"`
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.ns(b), "unshare", "--uts", "--mount", "sh", "-c", text, b.name, name}, args...)...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func (l *lab) file(folder, name, text string) string {
	p := filepath.Join(folder, name)
	if err := os.WriteFile(p, []byte(strings.ReplaceAll(text, "DIR", folder)), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *lab) avahi(b box, folder string) {
	config := l.file(folder, "avahi.conf", "[server]\nhost-name="+b.name+"\nuse-ipv6=no\nenable-dbus=no\n[publish]\npublish-workstation=yes\n")
	services := filepath.Join(folder, "services")
	if err := os.Mkdir(services, 0o755); err != nil {
		l.t.Fatal(err)
	}
	if b.facts["role"] == "printer" {
		l.file(services, "hall.service", `<service-group><name>Hall</name><service><type>_ipp._tcp</type><port>631</port></service></service-group>`)
	}
	// Avahi has one folder for services and one for its number on a machine, which are others for each.
	l.start(b, "sh", "-c", "mkdir -p /run/avahi-daemon && mount -t tmpfs lab /run/avahi-daemon && mount --bind "+services+` /etc/avahi/services && exec "$0" "$@"`, "avahi-daemon", "-f", config, "--no-drop-root", "--no-chroot", "--no-rlimits")
}

func (l *lab) samba(b box, folder string) {
	config := l.file(folder, "smb.conf", "[global]\nnetbios name = "+b.name+"\nworkgroup = HALL\nprivate dir = DIR\nlock directory = DIR\nstate directory = DIR\n"+
		"cache directory = DIR\npid directory = DIR\nncalrpc dir = DIR\nlog file = DIR/log\ndisable spoolss = yes\nload printers = no\n")
	l.start(b, "nmbd", "--foreground", "--no-process-group", "-s", config)
	l.start(b, "smbd", "--foreground", "--no-process-group", "-s", config)
}

func (l *lab) films(b box, folder string) {
	config := l.file(folder, "minidlna.conf", "network_interface=eth0\nmedia_dir=DIR\ndb_dir=DIR\nlog_dir=DIR\nfriendly_name="+b.name+"\nport=8200\ninotify=no\n")
	l.start(b, "minidlnad", "-S", "-f", config, "-P", filepath.Join(folder, "pid"))
}

// round asks by every discovery, and hands what is told to the inventory as a server does.
func (l *lab) round() {
	l.t.Helper()
	for _, d := range []struct {
		plugin, config string
		inst           sdk.Discoverer
	}{
		{"picket/ping", `{"targets": ["192.0.2.0/24"], "timeout": "200ms", "retries": 0, "rate": 2000}`, ping.New()},
		{"picket/arp", `{"interfaces": {"include": ["lab0"]}}`, arp.New()},
		{"picket/mdns", `{"targets": ["192.0.2.0/24"], "wait": "1s"}`, mdns.New()},
		{"picket/netbios", `{"targets": ["192.0.2.0/27"], "wait": "300ms"}`, netbios.New()},
		{"picket/ssdp", `{"targets": ["192.0.2.0/24"], "wait": "1500ms"}`, ssdp.New()},
	} {
		host := sdktest.NewHost(l.t)
		host.Grants = []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"0.0.0.0/0"}}}, {Cap: sdk.CapNetListen}, {Cap: sdk.CapNetRaw}, {Cap: sdk.CapHostMetrics}, {Cap: sdk.CapFSRead}}
		plugintest.Configure(l.t, d.inst, d.config)
		if s, ok := d.inst.(sdk.Starter); ok {
			if err := s.Start(l.t.Context(), host); err != nil {
				l.t.Fatalf("%s: %v", d.plugin, err)
			}
		}
		var told batch
		if err := d.inst.Discover(l.t.Context(), sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, &told); err != nil {
			l.t.Fatalf("%s: %v", d.plugin, err)
		}
		b := store.SightingBatch{Tenant: store.DefaultTenant, Agent: "lab"}
		for _, s := range told {
			if normal, ok := inventory.Normal(s); ok {
				one := store.Sighting{Plugin: d.plugin, Sighting: normal}
				one.KinMAC, one.KinIP = inventory.Kin(normal)
				b.Sightings = append(b.Sightings, one)
			}
		}
		_, _, err := l.control.RecordSightings(l.t.Context(), b, func(s store.Sighting, matches []store.Device) (store.Device, []string) {
			return inventory.Merge(s.Plugin, s.Sighting, matches)
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

type batch []sdk.Sighting

func (b *batch) Sighting(s sdk.Sighting) error {
	*b = append(*b, s)
	return nil
}

func (l *lab) devices() []store.Device {
	list, _, err := l.control.ListDevices(l.t.Context(), store.DefaultTenant, store.Page{Limit: 500})
	if err != nil {
		l.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(d store.Device) bool { return slices.Contains(d.IPs, "192.0.2.1") }) // this machine
}

// wrong says what is not as it should be.
func (l *lab) wrong(want []box) (out []string) {
	list := l.devices()
	if len(list) != len(want) {
		out = append(out, fmt.Sprintf("%d devices, want %d", len(list), len(want)))
	}
	for _, b := range want {
		i := slices.IndexFunc(list, func(d store.Device) bool { return slices.Contains(d.MACs, b.card) })
		if i < 0 {
			out = append(out, b.name+" is not there")
			continue
		}
		d := list[i]
		if b.facts["upnp_device"] == "" && !slices.Equal(d.Hostnames, []string{b.name}) || !slices.Equal(slices.Sorted(slices.Values(d.IPs)), b.ips) || len(d.MACs) != 1 {
			out = append(out, fmt.Sprintf("%s is %v %v %v", b.name, d.Hostnames, d.IPs, d.MACs))
		}
		for name, value := range b.facts {
			if !slices.Contains(strings.Fields(d.Facts[name].Value), value) {
				out = append(out, fmt.Sprintf("%s: %s is %q, want %q", b.name, name, d.Facts[name].Value, value))
			}
		}
	}
	return out
}

func (l *lab) list() string {
	var b strings.Builder
	for _, d := range l.devices() {
		fmt.Fprintf(&b, "%v %v %v by %v\n", d.Hostnames, d.IPs, d.MACs, d.Sources)
		for name, f := range d.Facts {
			fmt.Fprintf(&b, "    %s: %s (%s)\n", name, f.Value, f.Source)
		}
	}
	return b.String()
}
