package encrypted

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
	"github.com/picketwatch/picket/sdk"
)

// What is found, by number.
const (
	namesOverHTTPS uint8 = iota
	oddPort
	keystrokes
	stranger
)

// rule is what is said of it.
type rule struct {
	id, purpose string
	techniques  []string
	benign      string
}

var rules = [...]rule{
	namesOverHTTPS: {"names-over-https", "A program asks a public resolver over HTTPS, in a way that hides it or carries more than names.",
		[]string{"T1572", "T1071.004"}, "Forwarders that ask over HTTPS by design: name them in the list of what is ignored."},
	oddPort: {"odd-port", "A port outside carries another protocol than its own.",
		[]string{"T1571", "T1572"}, "Services that take SSH on the port of HTTPS, and programs with a cipher of their own, such as messengers."},
	keystrokes: {"keystrokes", "An encrypted connection has the shape of somebody who types, and nothing says who the server is.",
		[]string{"T1573", "T1071.001"}, "Consoles and chats of servers without a name."},
	stranger: {"stranger", "A host began to speak in a new way with somebody outside whom nobody else knows.",
		[]string{"T1573", "T1071.001"}, "A program that one host has and that calls its maker."},
}

// finding puts a matter into words.
func (d *Detector) finding(i *issue.Issue) sdk.Finding {
	r, client, server := &rules[i.Key.Rule], i.Key.Client.Addr(), i.Server()
	if len(i.Names) > 0 {
		server = fmt.Sprintf("%s (%s)", server, i.Names[0])
	}
	severity, confidence, summary := sdk.SeverityLow, 0.4, ""
	features := map[string]float64{}
	switch i.Key.Rule {
	case namesOverHTTPS:
		n := bits.OnesCount32(i.Signs)
		confidence = min(0.85, 0.25+0.15*float64(n))
		if n >= 2 {
			severity = sdk.SeverityMedium
		}
		summary = fmt.Sprintf("a program on %s asks the resolver %s over HTTPS, not as a browser does: %s", client, server, words(askedWords, i.Signs))
		if key := stir(hashAddr(i.Key.Client)) ^ hashAddr(i.Key.Server); d.memory.questions.Has(key) {
			q, _ := d.memory.questions.Get(key)
			features["sent"], features["received"], features["sent_per_packet"] = float64(q.sent), float64(q.received), float64(q.sent/max(1, q.packets))
		}
	case oddPort:
		summary = fmt.Sprintf("%s speaks %s with %s", client, words(portWords, i.Signs), server)
	case keystrokes:
		n := bits.OnesCount32(i.Signs &^ keysShape)
		confidence = min(0.85, 0.3+0.1*float64(n))
		if n >= 3 {
			severity = sdk.SeverityMedium
		}
		summary = fmt.Sprintf("somebody types into an encrypted connection of %s with %s: %s", client, server, words(keyWords, i.Signs))
		d.explain(features, i, keyFacts)
	case stranger:
		confidence = float64(min(weigh(i.Signs), 90)) / 100
		if weigh(i.Signs) >= strangeMedium {
			severity = sdk.SeverityMedium
		}
		summary = fmt.Sprintf("%s began to call %s, which nobody else does: %s", client, server, words(strangeWords, i.Signs))
		d.explain(features, i, factsOf(i.Signs))
	}
	f := i.Finding(severity, confidence)
	f.Detector, f.Rule, f.Techniques, f.Summary = "picket/encrypted", r.id, r.techniques, summary
	for name, v := range features {
		f.Features[name] = v
	}
	return f
}

// keyFacts are those that keystrokes are known by: bytes a packet each way, and gaps.
var keyFacts = []int{3, 4, 5}

// explain shows facts of the last connection beside what is usual for the host, where that is known.
func (d *Detector) explain(features map[string]float64, of *issue.Issue, facts []int) {
	if len(facts) == 0 || !d.memory.shapes.Has(of.Key) || !d.memory.hosts.Has(of.Key.Client) {
		return
	}
	last, _ := d.memory.shapes.Get(of.Key)
	host, _ := d.memory.hosts.Get(of.Key.Client)
	for _, i := range facts {
		name := shape.Name(i)
		features[name] = shape.Value(i, last.Shape[i])
		if host.Ready(host.first, 0, hostFlows) {
			features[name+"_usual_from"], features[name+"_usual_to"] = host.Usual(i)
		}
	}
}

// words names signs, one after the other.
func words(names []string, signs uint32) string {
	var out []string
	for i, name := range names {
		if signs&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}
