package facts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/iec104"
	"github.com/picketwatch/picket/internal/traffic/app/kerberos"
	"github.com/picketwatch/picket/internal/traffic/app/modbus"
	"github.com/picketwatch/picket/internal/traffic/app/mqtt"
	"github.com/picketwatch/picket/internal/traffic/app/netbios"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
	"github.com/picketwatch/picket/internal/traffic/app/snmp"
	"github.com/picketwatch/picket/internal/traffic/app/ssh"
	"github.com/picketwatch/picket/sdk"
)

func TestMessages(t *testing.T) {
	for name, c := range map[string]struct {
		protocol string
		body     any
		want     string // name, response, code, text
		fields   map[string]string
		without  []string
	}{
		"banner": {"ssh", &ssh.Banner{Version: "2.0", Software: "OpenSSH_9.6"}, "banner false  OpenSSH_9.6", map[string]string{"software": "OpenSSH_9.6", "version": "2.0"}, []string{"comment"}},
		"ticket": {"kerberos", &kerberos.Message{Type: kerberos.ASRequest, Client: "ada", Encryptions: []int32{18, 23}}, "as-req false  ada", map[string]string{"encryptions": "18, 23", "client": "ada"}, nil},
		"error":  {"kerberos", &kerberos.Message{Type: kerberos.Error, Code: 24}, "error true 24 ", nil, nil},
		"known community": {"snmp", &snmp.Message{Version: 2, PDU: 2, Community: "public", Variables: []snmp.Variable{{OID: oidDescription, Value: "a switch"}}},
			"response true 0 a switch", map[string]string{"community": "public", oidDescription: "a switch"}, []string{"variables"}},
		"secret community": {"snmp", &snmp.Message{Version: 2, Community: "s3cret"}, "get false  ", nil, []string{"community"}},
		"names": {"netbios-ns", &netbios.Message{Name: "registration", Subject: netbios.Name{Text: "HOST", Suffix: 0x20}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
			"registration false  HOST", map[string]string{"subject": "HOST", "subject_suffix": "32", "addrs": "10.0.0.1"}, nil},
		"publish": {"mqtt", &mqtt.Publish{Topic: "a/b", Begin: []byte{1, 255}}, "publish false  a/b", map[string]string{"begin": "01ff"}, []string{"retain"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, got := gather(t, sdk.FactsMessages)
			for range 2 { // the second one finds what the first left there
				newWire(m, c.protocol, 1).say(app.Client, c.body)
			}
			flush(t, m)
			if len(got.Messages) != 2 {
				t.Fatalf("%d messages", len(got.Messages))
			}
			r := got.Messages[1]
			if have := fmt.Sprint(r.Name, " ", r.Response, " ", r.Code, " ", r.Text); have != c.want || r.Protocol != c.protocol {
				t.Errorf("%q, want %q", have, c.want)
			}
			for k, v := range c.fields {
				if r.Fields[k] != v {
					t.Errorf("%s is %q, want %q", k, r.Fields[k], v)
				}
			}
			for _, k := range c.without {
				if v, ok := r.Fields[k]; ok {
					t.Errorf("%s is %q", k, v)
				}
			}
		})
	}
}

func TestMachines(t *testing.T) {
	m, got := gather(t, sdk.FactsOT)
	newWire(m, "modbus", 1).say(app.Client, &modbus.Message{Unit: 7, Function: 16, Address: 40, Quantity: 2, Write: true, Data: []byte{1, 2}})
	newWire(m, "modbus", 1).say(app.Server, &modbus.Message{Unit: 7, Function: 99, Response: true, Exception: 2})
	newWire(m, "modbus", 1).say(app.Server, &modbus.Message{Function: 43, Response: true, Objects: []modbus.Object{{ID: 0, Value: "Acme"}, {ID: 200, Value: "?"}}})
	newWire(m, "iec104", 2).say(app.Server, &iec104.Message{Type: 45, Name: "single command", Action: ot.Operate, Cause: 7, Negative: true, Station: 3, Count: 1, Objects: []uint32{11}})
	flush(t, m)
	var have []string
	for _, r := range got.OT {
		have = append(have, fmt.Sprint(r.Protocol, " ", r.Function, " ", r.Name, " ", r.Action, " ", r.Response, " ", r.Failed, " ", r.Error, " ", r.Unit, " ", r.Object,
			" ", r.Address, " ", r.Quantity, fmt.Sprintf(" %x ", r.Value), r.Details["vendor"]))
	}
	want := []string{
		"modbus 16 write-registers write false false 0 7 register 40 2 0102 ",
		"modbus 99 99  true true 2 7  0 0  ",
		"modbus 43 read-device-identification discover true false 0 0  0 0  Acme",
		"iec104 45 single command operate true true 7 3  11 1  ",
	}
	if strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("have\n%s", strings.Join(have, "\n"))
	}
}

// Files of HTTP are those that tshark exports, byte for byte.
func TestFilesAgainstTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark here")
	}
	path := apptest.Shared(t, "benign-web__chrissanders__http_espn.pcapng")
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), tshark, "-n", "-r", path, "-Q", "--export-objects", "http,"+dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < 5 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	m, got := gather(t, sdk.FactsFiles)
	analyse(t, m, path, func([]sdk.Flow) error { return nil })
	ours := map[string]bool{}
	for _, f := range got.Files {
		ours[f.SHA256] = true
	}
	missing := 0
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); len(data) > 0 && !ours[hex.EncodeToString(sum[:])] {
			t.Logf("%s, %d bytes", filepath.Base(name), len(data))
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d files are other ones here, which found %d", missing, len(names), len(got.Files))
	}
}
