package snmp

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/plugins/internal/snmp/snmptest"
	"github.com/picketwatch/picket/sdk"
)

const (
	recordings = "../../../../shared/data/snmp"
	results    = "../../../docs/snmp-results.md"
	begin      = "<!-- snmp:begin (made by make snmp-devices) -->\n"
	end        = "<!-- snmp:end -->"
)

// expectation is what LibreNMS finds in the recording of a device.
type expectation struct {
	OS struct {
		Devices []struct {
			SysDescr, SysObjectID, SysName, SysContact, Location, Serial, Hardware *string
		}
	} `json:"os"`
	Ports struct {
		Ports []struct {
			IfIndex                          json.Number
			IfDescr, IfName, IfAlias, IfType *string
			IfOperStatus                     *string
		}
	} `json:"ports"`
	Links struct {
		Links []link
	} `json:"discovery-protocols"`
}

type link struct {
	IfName         string `json:"ifName"`
	IfDescr        string `json:"ifDescr"`
	Protocol       string `json:"protocol"`
	RemoteHostname string `json:"remote_hostname"`
	RemotePort     string `json:"remote_port"`
}

type anywhere struct{}

func (anywhere) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// tally counts facts that are as expected.
type tally struct{ same, all int }

func (t tally) String() string {
	return fmt.Sprintf("%d of %d (%.1f %%)", t.same, t.all, 100*float64(t.same)/float64(max(t.all, 1)))
}

// TestRecordedDevices reads the recorded devices and compares with what LibreNMS finds in them. snmpsim plays them where PICKET_SNMPSIM
// says its address, else the agent of these tests. With PICKET_UPDATE it writes the table of what differs.
func TestRecordedDevices(t *testing.T) {
	simulator := os.Getenv("PICKET_SNMPSIM")
	if simulator == "" && os.Getenv("PICKET_SNMP_RECORDED") == "" {
		t.Skip("PICKET_SNMP_RECORDED is not set: see make snmp-devices")
	}
	if simulator == "" {
		simulator = playAll(t)
	}
	files, err := filepath.Glob(filepath.Join(recordings, "expected", "*.json.gz"))
	if err != nil || len(files) == 0 {
		t.Skipf("there are no recordings in %s", recordings)
	}
	sums := map[string]*tally{"system": {}, "interfaces": {}, "neighbours": {}}
	differs := map[string][]string{}
	devices, silent := 0, 0
	began := time.Now()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json.gz")
		var want expectation
		readJSON(t, file, &want)
		c, err := snmp.Open(t.Context(), anywhere{}, simulator, snmp.Access{Version: "2c", Community: name}, snmp.Options{Timeout: 5 * time.Second, Retries: 1})
		if err != nil {
			t.Fatal(err)
		}
		have, err := read(c)
		c.Close()
		if have == nil {
			silent++
			differs[name] = append(differs[name], fmt.Sprintf("not read: %v", err))
			continue
		}
		devices++
		compare(have, want, sums, func(format string, args ...any) { differs[name] = append(differs[name], fmt.Sprintf(format, args...)) })
	}
	t.Logf("%d devices in %s, %d silent", devices, time.Since(began), silent)
	total := tally{}
	for _, s := range sums {
		total.same, total.all = total.same+s.same, total.all+s.all
	}
	if 100*total.same < 95*total.all || silent > 0 {
		t.Errorf("%v of all facts", total)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d recorded devices, played by the tests' own agent, read by `picket/snmp-devices`.\n\n| Facts | As LibreNMS finds them |\n|---|---|\n", devices)
	for _, part := range []string{"system", "interfaces", "neighbours"} {
		fmt.Fprintf(&out, "| %s | %v |\n", part, sums[part])
		if sums[part].same*100 < 95*sums[part].all {
			t.Errorf("%s: %v", part, sums[part])
		}
	}
	fmt.Fprintf(&out, "| all | %v |\n\nWhat differs, by device:\n\n| Device | Differences |\n|---|---|\n", total)
	for _, name := range slices.Sorted(maps.Keys(differs)) {
		list := differs[name]
		if len(list) > 4 {
			list = append(list[:3:3], fmt.Sprintf("and %d more", len(differs[name])-3))
		}
		fmt.Fprintf(&out, "| %s | %s |\n", name, strings.ReplaceAll(strings.Join(list, "; "), "|", "\\|"))
	}
	t.Log("\n" + out.String()[:min(out.Len(), 600)])
	if os.Getenv("PICKET_UPDATE") != "" {
		update(t, out.String())
	}
	if v := os.Getenv("PICKET_SNMP_DIFF"); v != "" {
		var all []string
		for name, list := range differs {
			for _, d := range list {
				all = append(all, name+": "+d)
			}
		}
		sort.Strings(all)
		if err := os.WriteFile(v, []byte(strings.Join(all, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// playAll plays all recordings, each to its name as the community.
func playAll(t *testing.T) string {
	t.Helper()
	a := snmptest.New(t)
	files, err := filepath.Glob(filepath.Join(recordings, "devices", "*.snmprec.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		a.Put(t, strings.TrimSuffix(filepath.Base(file), ".snmprec.gz"), z)
		f.Close()
	}
	return a.Address
}

func update(t *testing.T, text string) {
	t.Helper()
	page, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s lacks its marks", results)
	}
	if err := os.WriteFile(results, []byte(before+begin+text+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t *testing.T, file string, to any) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

var spaces = regexp.MustCompile(`\s+`)

// plain is a text without its white space, which LibreNMS keeps, and without quotes and backslashes, which it drops.
func plain(s string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(strings.NewReplacer(`"`, "", `\`, "").Replace(s), " "))
}

// LibreNMS writes the hardware address of the other device behind its port.
var chassis = regexp.MustCompile(` \([0-9a-f]*\)$`)

// compare counts the facts that LibreNMS found and we did, too.
func compare(have *device, want expectation, sums map[string]*tally, differs func(string, ...any)) {
	check := func(part, what, h string, w *string) {
		if w == nil || *w == "" {
			return
		}
		sums[part].all++
		if strings.EqualFold(plain(h), plain(*w)) {
			sums[part].same++
		} else {
			differs("%s %q, not %q", what, clip(h), clip(plain(*w)))
		}
	}
	for _, d := range want.OS.Devices {
		object := "." + string(have.system.object)
		check("system", "sysDescr", have.system.description, d.SysDescr)
		check("system", "sysObjectID", object, d.SysObjectID)
		check("system", "sysName", have.system.name, d.SysName)
		check("system", "sysContact", have.system.contact, d.SysContact)
		check("system", "sysLocation", have.system.location, d.Location)
	}
	ports := map[string]sdk.Port{}
	for _, p := range have.ports {
		ports[fmt.Sprint(p.Index)] = p
	}
	for _, w := range want.Ports.Ports {
		index := w.IfIndex.String()
		p, ok := ports[index]
		sums["interfaces"].all++
		if !ok {
			differs("no port %s", index)
			continue
		}
		sums["interfaces"].same++
		check("interfaces", "port "+index+" ifDescr", p.Description, w.IfDescr)
		check("interfaces", "port "+index+" ifName", p.Name, w.IfName)
		if w.IfAlias != nil && *w.IfAlias != "" {
			alias := p.Alias
			if alias == "" { // LibreNMS takes the description then
				alias = p.Description
			}
			check("interfaces", "port "+index+" ifAlias", alias, w.IfAlias)
		}
		if w.IfOperStatus != nil {
			check("interfaces", "port "+index+" state", map[bool]string{true: "up", false: "down"}[p.State == "up"], map[bool]*string{true: w.IfOperStatus}[*w.IfOperStatus == "up" || *w.IfOperStatus == "down"])
		}
	}
	left := slices.Clone(have.links)
	for _, w := range want.Links.Links {
		// A link counts for three facts: that it is there at that port, the other device, and its port. Of several at a port the one
		// that is most alike is meant.
		w.RemotePort = chassis.ReplaceAllString(w.RemotePort, "")
		best, at := -1, -1
		for i, l := range left {
			if l.Protocol != w.Protocol || plain(l.Port) != plain(w.IfName) && plain(l.Port) != plain(w.IfDescr) {
				continue
			}
			if alike := one(sameName(l, w.RemoteHostname)) + one(samePort(l, w.RemotePort)); alike > best {
				best, at = alike, i
			}
		}
		sums["neighbours"].all += 3
		if at < 0 {
			differs("no %s neighbour at %q (%q %q)", w.Protocol, w.IfName, w.RemoteHostname, w.RemotePort)
			continue
		}
		l := left[at]
		left = slices.Delete(left, at, at+1)
		sums["neighbours"].same += 1 + best
		if !sameName(l, w.RemoteHostname) {
			differs("%s neighbour at %q: %q, not %q", w.Protocol, w.IfName, l.Name, w.RemoteHostname)
		}
		if isMasked(w.RemotePort) {
			sums["neighbours"].all--
		} else if !samePort(l, w.RemotePort) {
			differs("%s neighbour at %q: port %q, not %q", w.Protocol, w.IfName, l.RemotePort, w.RemotePort)
		}
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// samePort reports whether a link leads to the port that LibreNMS names: by what the other device calls it, or by its hardware address.
func samePort(l sdk.Link, want string) bool {
	return plain(l.RemotePort) == plain(want) || l.RemoteMAC != "" && plainMAC(l.RemoteMAC) == plainMAC(want)
}

// isMasked reports whether who gave the recording made a hardware address unreadable.
func isMasked(mac string) bool { return plainMAC(mac) == "000000000000" }

func plainMAC(s string) string {
	return strings.ToLower(strings.NewReplacer(":", "", "-", "", " ", "").Replace(s))
}

// sameName reports whether a link leads to the device that LibreNMS names by what it has: a name, a hardware address or an address.
func sameName(l sdk.Link, want string) bool {
	return plain(l.Name) == plain(want) || plainMAC(l.MAC) == plainMAC(want) || l.IP.IsValid() && l.IP.String() == want || l.Name == "" && want == ""
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
