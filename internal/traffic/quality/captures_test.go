package quality

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const shared = "../../../../shared/pcaps"

// row is one capture of the index.
type row struct{ file, class, truth string }

func (r row) path() string { return filepath.Join(shared, r.file) }

// index lists the shared captures, and skips the test where there are none.
func index(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared, "INDEX.tsv"))
	if err != nil {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	var out []row
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		col := strings.Split(line, "\t")
		out = append(out, row{file: col[0], class: col[5], truth: col[10]})
	}
	slices.SortFunc(out, func(a, b row) int { return cmp.Compare(a.file, b.file) })
	return out
}

// expected is the technique that must be found in a capture, "" where nothing is asked.
func (r row) expected() string {
	switch {
	case r.class == "atk-scan", r.class == "atk-sweep", r.class == "atk-arpscan", scansBesides[r.file]:
		return "T1046"
	case r.class == "atk-beacon":
		return "T1071"
	}
	return ""
}

// scansBesides are captures of another class whose ground truth tells of a scan or sweep over IP.
var scansBesides = map[string]bool{
	"atk-ransomware__jstrosch__8b6bc16fd137c09a08b02bbe1bb7d670.pcap": true, // "UDP sweep 192.168.56.101 -> 1,099 hosts port 6893"
}

// scansInside are captures whose ground truth says scan but means questions inside one service, not over IP: there is no
// second port or host, so nothing is asked of portscan.
var scansInside = map[string]string{
	"atk-discovery__sbousseaden__discovery_scan_dcerpc_endpoint_mapper.pcapng": "questions to the endpoint mapper over a single TCP connection",
	"ot-modbus__antoinelemay__characterization_modbus_6RTU_with_operate.pcap":  "Modbus function codes and registers, over connections that work",
}

// benign reports whether any finding is a false alarm.
func (r row) benign() bool {
	return strings.HasPrefix(r.class, "benign-") || strings.HasPrefix(r.class, "neg-")
}

// falseAlarms names the captures in which a false alarm is known to remain, with the reason. At most two are tolerated.
var falseAlarms = map[string]string{}
