package sdk

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func dialTo(to ...string) Permission {
	return Permission{Cap: CapNetDial, Args: map[string][]string{"to": to}}
}

func TestAllowsDial(t *testing.T) {
	cases := []struct {
		name    string
		grant   Permission
		network string
		host    string
		port    int
		want    bool
	}{
		{"no restriction", Permission{Cap: CapNetDial}, "tcp", "example.org", 80, true},
		{"other capability", Permission{Cap: CapNetRaw}, "tcp", "example.org", 80, false},
		{"empty list allows nothing", dialTo(), "tcp", "example.org", 80, false},
		{"host", dialTo("example.org"), "tcp", "Example.ORG.", 80, true},
		{"host, other name", dialTo("example.org"), "tcp", "evil.example.org", 80, false},
		{"wildcard", dialTo("*.example.org"), "tcp", "a.b.example.org", 80, true},
		{"wildcard is not the domain itself", dialTo("*.example.org"), "tcp", "example.org", 80, false},
		{"wildcard needs the dot", dialTo("*.example.org"), "tcp", "badexample.org", 80, false},
		{"cidr", dialTo("10.0.0.0/8"), "udp", "10.1.2.3", 161, true},
		{"cidr, outside", dialTo("10.0.0.0/8"), "udp", "11.1.2.3", 161, false},
		{"cidr, mapped address", dialTo("10.0.0.0/8"), "udp", "::ffff:10.1.2.3", 161, true},
		{"cidr does not allow names", dialTo("0.0.0.0/0"), "tcp", "example.org", 80, false},
		{"host and port", dialTo("example.org:443"), "tcp", "example.org", 443, true},
		{"host and port, other port", dialTo("example.org:443"), "tcp", "example.org", 80, false},
		{"v6", dialTo("2001:db8::1"), "tcp6", "2001:db8::1", 80, true},
		{"v6 and port", dialTo("[2001:db8::1]:80"), "tcp", "2001:db8::1", 80, true},
		{"url", dialTo("https://hooks.example.org/x"), "tcp", "hooks.example.org", 443, true},
		{"url, other port", dialTo("https://hooks.example.org/x"), "tcp", "hooks.example.org", 80, false},
		{"negative port", Permission{Cap: CapNetDial}, "tcp", "example.org", -1, false},
		{"proto", Permission{Cap: CapNetDial, Args: map[string][]string{"proto": {"udp"}}}, "tcp", "a", 1, false},
		{"proto with family", Permission{Cap: CapNetDial, Args: map[string][]string{"proto": {"tcp"}}}, "tcp4", "a", 1, true},
		{"port range", Permission{Cap: CapNetDial, Args: map[string][]string{"port": {"1-1024"}}}, "tcp", "a", 1024, true},
		{"port range, outside", Permission{Cap: CapNetDial, Args: map[string][]string{"port": {"1-1024"}}}, "tcp", "a", 1025, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.grant.AllowsDial(c.network, c.host, c.port); got != c.want {
				t.Errorf("%s: %s to %s:%d = %v, want %v", c.grant, c.network, c.host, c.port, got, c.want)
			}
		})
	}
}

func TestGrantsAddr(t *testing.T) {
	cases := []struct {
		name  string
		grant Permission
		host  string
		addr  string
		want  bool
	}{
		{"ordinary address of a granted name", dialTo("example.org"), "example.org", "192.0.2.1", true},
		{"a name that points to the metadata service", dialTo("example.org"), "example.org", "169.254.169.254", false},
		{"a name that points to loopback", dialTo("*.example.org"), "x.example.org", "127.0.0.1", false},
		{"localhost by its name", dialTo("localhost"), "localhost", "127.0.0.1", true},
		{"link-local by its address", dialTo("169.254.1.1"), "169.254.1.1", "169.254.1.1", true},
		{"no restriction does not mean the metadata service", Permission{Cap: CapNetDial}, "169.254.169.254", "169.254.169.254", false},
		{"mapped loopback", Permission{Cap: CapNetDial}, "example.org", "::ffff:127.0.0.1", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Grants{c.grant}.Addr("tcp", c.host, netip.MustParseAddr(c.addr), 80)
			if (err == nil) != c.want {
				t.Errorf("got %v, want allowed = %v", err, c.want)
			}
			if err != nil && ClassOf(err) != PermissionDenied {
				t.Errorf("class %s", ClassOf(err))
			}
		})
	}
}

func TestOtherGrants(t *testing.T) {
	g := Grants{
		{Cap: CapNetRaw, Args: map[string][]string{"proto": {"icmp"}}},
		{Cap: CapSecretRead, Args: map[string][]string{"keys": {"password"}}},
		{Cap: CapFSRead, Args: map[string][]string{"paths": {"/proc"}}},
	}
	for what, err := range map[string]error{"icmp": g.Raw("icmp"), "password": g.Secret("password"), "/proc/net/arp": g.Read("/proc/net/arp")} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{"arp": g.Raw("arp"), "token": g.Secret("token"), "/procx": g.Read("/procx"),
		"dots": g.Read("/proc/../etc/shadow"), "dial": g.Dial("tcp", "a", 1)} {
		if ClassOf(err) != PermissionDenied {
			t.Errorf("%s: got %v, want a denial", what, err)
		}
	}
	if !g.Has(CapState) || !g.Has(CapNetRaw) || g.Has(CapExec) {
		t.Error("Has is wrong")
	}
}

func metrics(names ...string) Permission {
	return Permission{Cap: CapMetricsRead, Args: map[string][]string{"metrics": names}}
}

func TestGrantsMetric(t *testing.T) {
	for _, c := range []struct {
		grants Grants
		name   string
		want   bool
	}{
		{Grants{metrics("system.*", "up")}, "system.cpu.time", true},
		{Grants{metrics("system.*", "up")}, "up", true},
		{Grants{metrics("system.*", "up")}, "uptime", false},
		{Grants{{Cap: CapMetricsRead}}, "up", true},
		{Grants{metrics()}, "up", false},
		{Grants{{Cap: CapHostMetrics}}, "up", false},
	} {
		if got := c.grants.Metric(c.name); got != c.want {
			t.Errorf("%v, %s: %v", c.grants, c.name, got)
		}
	}
	for _, bad := range []string{"", "*.cpu", "a*b*"} {
		if metrics(bad).Validate() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestCovers(t *testing.T) {
	cases := []struct {
		name string
		p, q Permission
		want bool
	}{
		{"same", dialTo("example.org"), dialTo("example.org"), true},
		{"narrower", dialTo("10.0.0.0/8"), dialTo("10.1.0.0/16", "10.2.0.1:80"), true},
		{"wider", dialTo("10.1.0.0/16"), dialTo("10.0.0.0/8"), false},
		{"restricted does not cover unrestricted", dialTo("10.0.0.0/8"), Permission{Cap: CapNetDial}, false},
		{"unrestricted covers all", Permission{Cap: CapNetDial}, dialTo("example.org"), true},
		{"port is narrower than none", dialTo("example.org"), dialTo("example.org:443"), true},
		{"none is wider than port", dialTo("example.org:443"), dialTo("example.org"), false},
		{"wildcard", dialTo("*.example.org"), dialTo("a.example.org", "*.b.example.org"), true},
		{"paths", Permission{Cap: CapFSRead, Args: map[string][]string{"paths": {"/proc"}}},
			Permission{Cap: CapFSRead, Args: map[string][]string{"paths": {"/proc/net"}}}, true},
		{"paths leave by dots", Permission{Cap: CapFSRead, Args: map[string][]string{"paths": {"/proc"}}},
			Permission{Cap: CapFSRead, Args: map[string][]string{"paths": {"/proc/../etc"}}}, false},
		{"metrics", metrics("*"), metrics("system.*", "system.cpu.time"), true},
		{"metrics by their beginning", metrics("system.*"), metrics("system.cpu.*", "process.count"), false},
		{"metrics, a wider pattern", metrics("system.cpu.*"), metrics("system.*"), false},
		{"other capability", dialTo("a"), Permission{Cap: CapExec}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.Covers(c.q); got != c.want {
				t.Errorf("%s covers %s = %v, want %v", c.p, c.q, got, c.want)
			}
		})
	}
}

func TestValidatePermission(t *testing.T) {
	for _, p := range []Permission{
		{Cap: "net.fly"},
		{Cap: CapNetDial, Args: map[string][]string{"address": {"a"}}},
		{Cap: CapNetDial, Args: map[string][]string{"port": {"70000"}}},
		{Cap: CapNetDial, Args: map[string][]string{"to": {"https://"}}},
		{Cap: CapNetDial, Args: map[string][]string{"to": {"a b"}}},
		{Cap: CapFSRead, Args: map[string][]string{"paths": {"../etc"}}},
		{Cap: CapFactsRead, Args: map[string][]string{"kinds": {FactsContents}}},
	} {
		if p.Validate() == nil {
			t.Errorf("%s: no error", p)
		}
	}
	for _, p := range []Permission{
		{Cap: CapFlowsRead},
		{Cap: CapNetDial, Args: map[string][]string{"proto": {"tcp"}, "to": {"${config.host}"}, "port": {"${config.port}", "1-5"}}},
		{Cap: CapFSRead, Args: map[string][]string{"paths": {"/proc", "/"}}},
	} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestExpandPermissions(t *testing.T) {
	config := []byte(`{"targets": ["10.0.0.1", "10.1.0.0/16"], "port": 161, "url": "https://hooks.example.org/a",
		"mail": {"host": "smtp.example.org", "ports": [25, 587]}, "empty": [], "peers": [{"host": "a"}, {"host": "b"}]}`)
	cases := []struct {
		name string
		arg  string
		in   []string
		want []string
	}{
		{"list", "to", []string{"${config.targets}"}, []string{"10.0.0.1", "10.1.0.0/16"}},
		{"number", "port", []string{"${config.port}"}, []string{"161"}},
		{"url becomes host and port", "to", []string{"${config.url}"}, []string{"hooks.example.org:443"}},
		{"two in one value", "to", []string{"${config.mail.host}:${config.mail.ports}"}, []string{"smtp.example.org:25", "smtp.example.org:587"}},
		{"in a list of objects", "to", []string{"${config.peers.host}"}, []string{"a", "b"}},
		{"nothing there allows nothing", "to", []string{"${config.missing}"}, []string{}},
		{"empty list allows nothing", "to", []string{"${config.empty}"}, []string{}},
		{"literal", "to", []string{"example.org"}, []string{"example.org"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ExpandPermissions([]Permission{{Cap: CapNetDial, Args: map[string][]string{c.arg: c.in}}}, config)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got[0].Args[c.arg], c.want) {
				t.Errorf("got %q, want %q", got[0].Args[c.arg], c.want)
			}
		})
	}
	for _, bad := range []string{"${config.}", "${env.HOME}", "${config.port", "${config.mail.host}/x y"} {
		if _, err := ExpandPermissions([]Permission{dialTo(bad)}, config); ClassOf(err) != InvalidConfig {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	many := `{"a": [` + strings.TrimSuffix(strings.Repeat(`"x",`, 100), ",") + `]}`
	if _, err := ExpandPermissions([]Permission{dialTo("${config.a}.${config.a}")}, []byte(many)); err == nil {
		t.Error("a product of lists is not bounded")
	}
}

func TestExpandDoesNotTouchItsInput(t *testing.T) {
	in := []Permission{dialTo("${config.host}")}
	if _, err := ExpandPermissions(in, []byte(`{"host": "a"}`)); err != nil {
		t.Fatal(err)
	}
	if in[0].Args["to"][0] != "${config.host}" {
		t.Error("the manifest's permission was changed")
	}
}
