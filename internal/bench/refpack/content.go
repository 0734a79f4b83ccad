package refpack

import (
	"fmt"
	"slices"

	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/sdk"
)

// usual are the ports on which a protocol is nothing odd.
var usual = map[string][]uint16{
	"dns": {53, 5353, 5355}, "tls": {443, 465, 563, 636, 853, 989, 990, 993, 995, 5061, 8443, 8883}, "http": {80, 3128, 8000, 8008, 8080, 8888},
	"ssh": {22, 2222}, "smb": {139, 445}, "ftp": {21}, "smtp": {25, 465, 587}, "imap": {143}, "telnet": {23}, "rdp": {3389},
	"ldap": {389, 3268}, "kerberos": {88, 464}, "snmp": {161, 162}, "ntp": {123}, "mqtt": {1883}, "modbus": {502}, "s7comm": {102},
}

// oddPort finds protocols on ports that are not theirs.
type oddPort struct{ talks table[bool] }

func (d *oddPort) rule() sdk.Rule {
	return sdk.Rule{ID: "odd-port", Purpose: "A protocol runs on a port that is not its own.", Techniques: []string{"T1571"}, Severity: sdk.SeverityLow}
}

func (d *oddPort) see(f *flow, say *teller) {
	if f.App == "" {
		return
	}
	ports := usual[f.App]
	if ports == nil || slices.Contains(ports, f.DstPort) {
		return
	}
	if said := d.talks.at(f.talk, f.now); !*said {
		*said = true
		say.tell(d.rule(), f.both(), fmt.Sprintf("%s talks %s to %s on port %d.", f.Src, f.App, f.Dst, f.DstPort), map[string]float64{"port": float64(f.DstPort)})
	}
}

func (d *oddPort) end(*teller) { d.talks.clear() }

// oddVotes is about four standard deviations of what fifty trees that were drawn say together.
const oddVotes = 8

// ensemble asks trees about each flow. It remembers nothing.
type ensemble struct{ trees *detectors.Ensemble }

func newEnsemble() *ensemble { return &ensemble{trees: detectors.NewEnsemble()} }

func (d *ensemble) rule() sdk.Rule {
	return sdk.Rule{ID: "ensemble", Purpose: "Trees call a flow odd.", Techniques: []string{"T1071"}, Severity: sdk.SeverityInfo}
}

func (d *ensemble) see(f *flow, say *teller) {
	if votes := d.trees.Votes(f.Flow); votes > oddVotes {
		say.tell(d.rule(), f.both(), fmt.Sprintf("Fifty trees call a flow from %s to %s odd.", f.Src, f.Dst), map[string]float64{"votes": votes})
	}
}

func (d *ensemble) end(*teller) {}
