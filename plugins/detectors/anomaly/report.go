package anomaly

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// matter puts what is unlike before into words.
func (d *Detector) matter(i *issue.Issue) sdk.Finding {
	if i.Key.Rule == activityRule {
		return d.busier(i)
	}
	client, features := i.Key.Client.Addr(), map[string]float64{}
	var texts []string
	pair, seen := d.pairs.Get(i.Key)
	host, known := d.hosts.Get(i.Key.Client)
	for fact := range shape.Facts {
		if i.Signs&(1<<fact) == 0 || !seen || !known {
			continue
		}
		name, v := shape.Name(fact), shape.Value(fact, pair.last[fact])
		from, to := host.profile(i.Key.Rule).Usual(fact)
		features[name], features[name+"_usual_from"], features[name+"_usual_to"] = v, from, to
		texts = append(texts, fmt.Sprintf("%s about %v, usually %v to %v", strings.ReplaceAll(name, "_", " "), v, from, to))
	}
	n := bits.OnesCount32(i.Signs)
	f := i.Finding(sdk.SeverityLow, min(0.6, 0.2+0.1*float64(n)))
	f.Detector, f.Rule, f.Techniques = "picket/anomaly", RuleUnlike, []string{}
	f.Summary = fmt.Sprintf("flows of %s with %s are unlike others of its %s, and of its network: %s", client, i.Server(), classNames[i.Key.Rule], strings.Join(texts, "; "))
	for name, v := range features {
		f.Features[name] = v
	}
	return f
}

// busier puts an hour into words.
func (d *Detector) busier(i *issue.Issue) sdk.Finding {
	n := bits.OnesCount32(i.Signs)
	severity := sdk.SeverityLow
	if n >= manyCounters {
		severity = sdk.SeverityMedium
	}
	f := i.Finding(severity, min(0.75, 0.2+0.15*float64(n)))
	f.Detector, f.Rule, f.Techniques, f.Dst = "picket/anomaly", RuleBusier, []string{}, ""
	var texts []string
	host, known := d.hosts.Get(i.Key.Client)
	for c := range counters {
		if i.Signs&(1<<c) == 0 || !known {
			continue
		}
		v, usual := float64(host.now[c]), host.usual(c)
		if c == peers {
			v = float64(host.now[c] / sketch.Unit)
		}
		f.Features[counterNames[c]], f.Features[counterNames[c]+"_usual"] = v, usual
		texts = append(texts, fmt.Sprintf("%s %.0f, usually about %.0f", counterNames[c], v, usual))
	}
	f.Summary = fmt.Sprintf("%s does far more within the hour than it does usually, and than its network does: %s", i.Key.Client.Addr(), strings.Join(texts, "; "))
	return f
}
