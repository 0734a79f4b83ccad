package core

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/inventory"
	"github.com/picketwatch/picket/sdk"
)

// Bounds of what is read to find out what this network needs, and how long the answer is used: the market's front page
// asks for it each time.
const (
	devicesLooked  = 5000
	alertsLooked   = 1000
	capturesLooked = 100
	needsFor       = 30 * time.Second
)

// needs finds out what plugins would be of use on this network.
type needs struct {
	c *Core

	mu    sync.Mutex // guards what follows
	known []catalogue.Need
	until time.Time
}

// list is what plugins would be of use, the most pressing first.
func (n *needs) list(ctx context.Context) ([]catalogue.Need, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.c.cfg.Now()
	if now.Before(n.until) {
		return n.known, nil
	}
	look, err := n.look(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("find out what this network needs: %w", err)
	}
	n.known, n.until = look.needs(), now.Add(needsFor)
	return n.known, nil
}

// outlook is what is known of a network.
type outlook struct {
	survey     *inventory.Survey
	captured   map[string]int // protocol → hosts that answered it in one capture
	techniques map[string]int // technique → open alerts that name it
	open       int            // alerts
	told       bool           // somebody is told of alerts
}

func (n *needs) look(ctx context.Context, now time.Time) (*outlook, error) {
	o := &outlook{survey: inventory.NewSurvey(), captured: map[string]int{}, techniques: map[string]int{}}
	err := upTo(devicesLooked, func(p store.Page) ([]store.Device, string, error) {
		return n.c.control.ListDevices(ctx, n.c.tenant, p)
	}, func(d store.Device) { o.survey.Add(d, now) })
	if err != nil {
		return nil, err
	}
	err = upTo(alertsLooked, func(p store.Page) ([]store.Alert, string, error) {
		return n.c.control.ListAlerts(ctx, n.c.tenant, store.AlertFilter{}, p)
	}, o.alert)
	if err != nil {
		return nil, err
	}
	err = upTo(capturesLooked, func(p store.Page) ([]store.Capture, string, error) {
		return n.c.control.ListCaptures(ctx, n.c.tenant, p)
	}, o.capture)
	if err != nil {
		return nil, err
	}
	notifiers, err := n.c.tellers(ctx)
	o.told = len(notifiers) > 0
	return o, err
}

// upTo reads a list page by page and does something with each of its first entries.
func upTo[T any](most int, page func(store.Page) ([]T, string, error), do func(T)) error {
	for cursor, left := "", most; left > 0; {
		list, next, err := page(store.Page{Cursor: cursor, Limit: min(left, 500)})
		if err != nil {
			return err
		}
		for _, v := range list {
			do(v)
		}
		if left -= len(list); next == "" {
			return nil
		}
		cursor = next
	}
	return nil
}

func (o *outlook) alert(a store.Alert) {
	if a.State == store.AlertResolved {
		return
	}
	o.open++
	for _, t := range a.Techniques {
		o.techniques[t]++
	}
}

// capture keeps the most hosts that one capture shows: the same network may have been captured often.
func (o *outlook) capture(x store.Capture) {
	here := map[string]int{}
	for _, s := range x.Services {
		if p, ok := inventory.ProtocolAt(s.Proto, s.Port); ok {
			here[p.Name] = max(here[p.Name], s.Hosts)
		}
	}
	for name, hosts := range here {
		o.captured[name] = max(o.captured[name], hosts)
	}
}

// weighed is a need and how much it touches.
type weighed struct {
	catalogue.Need
	n int
}

// sees are the kinds of plugins that look at devices and traffic. One that only tells people of alerts does not help with
// a device that speaks HTTP, though it speaks HTTP as well.
var sees = []string{string(sdk.KindCollector), string(sdk.KindDiscovery), string(sdk.KindDetector), string(sdk.KindModel), string(sdk.KindData)}

// needs puts what is known into words. First comes what nobody hears of, then what is particular to this network by how
// many devices it touches, then what is so in any.
func (o *outlook) needs() []catalogue.Need {
	var out []catalogue.Need
	if o.open > 0 && !o.told {
		out = append(out, catalogue.Need{Because: count(o.open, "alert is", "alerts are") + " open, and nobody is told",
			Query: catalogue.MarketQuery{Kind: string(sdk.KindNotifier)}, Without: "response"}) // which tells nobody and changes the network
	}
	particular := slices.Concat(o.spoken(), o.roles(), o.makers(), o.detected())
	slices.SortStableFunc(particular, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.Because, b.Because))
	})
	for _, w := range slices.Concat(particular, o.systems()) {
		out = append(out, w.Need)
	}
	if n := o.survey.Nameless; n > 0 {
		out = append(out, catalogue.Need{Because: count(n, "device has", "devices have") + " no name",
			Query: catalogue.MarketQuery{Tag: "dns", Kind: string(sdk.KindDiscovery)}})
	}
	if n := o.survey.Makerless; n > 0 {
		out = append(out, catalogue.Need{Because: count(n, "device has", "devices have") + " no known maker",
			Query: catalogue.MarketQuery{Tag: "oui"}, Kinds: sees})
	}
	return out
}

func (o *outlook) spoken() (out []weighed) {
	for name, devices := range o.survey.Speak {
		p, ok := inventory.ProtocolNamed(name)
		if !ok {
			continue
		}
		why := count(devices, "device answers ", "devices answer ") + p.Label
		if p.Announced {
			why = count(devices, "device announces itself", "devices announce themselves") + " by " + p.Label
		}
		out = append(out, protocolNeed(name, why, devices))
	}
	for name, hosts := range o.captured {
		p, ok := inventory.ProtocolNamed(name)
		if !ok || o.survey.Speak[name] > 0 {
			continue
		}
		why := count(hosts, "host answers ", "hosts answer ") + p.Label + " in a capture"
		if p.Announced {
			why = count(hosts, "host announces itself", "hosts announce themselves") + " by " + p.Label + " in a capture"
		}
		out = append(out, protocolNeed(name, why, hosts))
	}
	return out
}

func protocolNeed(name, why string, n int) weighed {
	return weighed{catalogue.Need{Because: why, Query: catalogue.MarketQuery{Protocol: name}, Kinds: sees}, n}
}

func (o *outlook) roles() (out []weighed) {
	for role, n := range o.survey.Roles {
		words := inventory.Roles[role]
		why := count(n, words[0], words[1]) + " on the network"
		out = append(out, weighed{catalogue.Need{Because: why, Query: catalogue.MarketQuery{Tag: role}, Kinds: sees}, n})
	}
	return out
}

func (o *outlook) makers() (out []weighed) {
	for maker, n := range o.survey.Makers {
		first, size := utf8.DecodeRuneInString(maker)
		why := count(n, "device is", "devices are") + " made by " + string(unicode.ToUpper(first)) + maker[size:]
		out = append(out, weighed{catalogue.Need{Because: why, Query: catalogue.MarketQuery{Tag: maker}, Kinds: sees}, n})
	}
	return out
}

func (o *outlook) detected() (out []weighed) {
	for technique, n := range o.techniques {
		why := count(n, "open alert shows ", "open alerts show ") + technique + ", which this finds too"
		q := catalogue.MarketQuery{Technique: technique, Kind: string(sdk.KindDetector)}
		out = append(out, weighed{catalogue.Need{Because: why, Query: q}, n})
	}
	return out
}

// systems are what machines with an agent run.
func (o *outlook) systems() (out []weighed) {
	labels := map[string]string{"linux": "Linux", "windows": "Windows", "darwin": "macOS"}
	for _, name := range sortedKeys(o.survey.Systems) {
		n := o.survey.Systems[name]
		out = append(out, weighed{catalogue.Need{Because: count(n, "device runs ", "devices run ") + labels[name],
			Query: catalogue.MarketQuery{Tag: name, Kind: string(sdk.KindCollector)}}, n})
	}
	return out
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
