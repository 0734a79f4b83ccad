package netbios

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/netbios") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/netbios"), sdktest.Options{
		Config: []byte(`{"targets": ["127.0.0.1/32"], "wait": "100ms"}`), Grants: grants,
	})
}

var grants = []sdk.Permission{
	{Cap: sdk.CapNetListen, Args: map[string][]string{"proto": {"udp"}}},
	{Cap: sdk.CapNetDial, Args: map[string][]string{"proto": {"udp"}, "to": {"127.0.0.1/32", "192.0.2.0/24"}, "port": {"137"}}},
	{Cap: sdk.CapNetDial, Args: map[string][]string{"proto": {"tcp"}, "to": {"127.0.0.1/32", "192.0.2.0/24"}, "port": {"445"}}},
}

func TestMessages(t *testing.T) {
	const status = "123400000001000000000000" + "20434b" // CK, then A thirty times
	if got := hex.EncodeToString(statusQuestion([2]byte{0x12, 0x34})); !strings.HasPrefix(got, status) || !strings.HasSuffix(got, "414100"+"00210001") || len(got) != 2*50 {
		t.Errorf("the question for all names is %s", got)
	}
	for name, b := range map[string][]byte{"negotiate": negotiate(), "session setup": sessionSetup()} {
		if int(b[2])<<8|int(b[3]) != len(b)-4 || string(b[4:8]) != "\xfeSMB" {
			t.Errorf("%s: %x", name, b)
		}
	}
}

// A server that announces more than is read, hangs up or says nothing ends by itself.
func TestHostileServers(t *testing.T) {
	for name, said := range map[string]string{
		"too much": "\x00\xff\xff\xff", "not of a session": "HTTP/1.1 400\r\n", "half": "\x00\x00\x00\x40\xfeSMB", "nothing": "",
	} {
		near, far := net.Pipe()
		go func() {
			buf := make([]byte, 1024)
			_, _ = far.Read(buf)
			_, _ = far.Write([]byte(said))
			far.Close()
		}()
		if answer, err := exchange(near, negotiate()); err == nil {
			t.Errorf("%s: took %x", name, answer)
		}
		near.Close()
	}
}

// Samba tells its name and its work group as a host, and its domain as a file server.
func TestSamba(t *testing.T) {
	if !plugintest.InNetwork(t, []string{"192.0.2.1/24"}, []string{"192.0.2.9/24"}) {
		return
	}
	folder := t.TempDir()
	config := filepath.Join(folder, "smb.conf")
	text := "[global]\nnetbios name = FILES-HALL\nworkgroup = HALL\ninterfaces = far0 192.0.2.9/24\nbind interfaces only = yes\n" +
		"private dir = DIR\nlock directory = DIR\nstate directory = DIR\ncache directory = DIR\npid directory = DIR\nncalrpc dir = DIR\n" +
		"log file = DIR/log\ndisable spoolss = yes\nload printers = no\n"
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", folder)), 0o644); err != nil {
		t.Fatal(err)
	}
	plugintest.StartFar(t, "nmbd", "--foreground", "--no-process-group", "-s", config)
	plugintest.StartFar(t, "smbd", "--foreground", "--no-process-group", "-s", config)

	host := sdktest.NewHost(t)
	host.Grants = grants
	d := New()
	plugintest.Configure(t, d, `{"targets": ["192.0.2.8/30"], "wait": "300ms"}`)
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; {
		var all sightings
		if err := d.Discover(t.Context(), sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, &all); err != nil {
			t.Fatal(err)
		}
		_, domain, _ := strings.Cut(all.of("smb"), " ")
		if all.of("netbios-ns") == "files-hall HALL" && domain == "FILES-HALL" { // a server on its own is its own domain
			return
		}
		if time.Now().After(end) {
			t.Fatalf("heard %+v, want files-hall in HALL, and its domain over SMB", all)
		}
	}
}

type sightings []sdk.Sighting

func (s *sightings) Sighting(one sdk.Sighting) error {
	*s = append(*s, one)
	return nil
}

// of is the name and the domain that were told over a protocol.
func (s sightings) of(source string) string {
	for _, one := range s {
		if one.Source == source && one.IP.String() == "192.0.2.9" && one.Hostname != "" {
			return strings.ToLower(one.Hostname) + " " + one.Facts["domain"]
		}
	}
	return ""
}
