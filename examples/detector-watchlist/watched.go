// Package watched is the detector acme/watched: in go flows, out come those with networks of a watch list. The list is a
// release of its own, acme/watchlist, so that a new list is no new program: the host exchanges it under the running
// plugin.
package watched

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// watchlist is what plugin.yaml names under requires.
const watchlist = "acme/watchlist"

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID: "acme/watched", Kind: sdk.KindDetector, Summary: "Finds flows with networks of a watch list.",
		Subscription: sdk.Subscription{Flows: true},
		Rules: []sdk.Rule{{
			ID: "watched", Purpose: "A host talks to a network of the watch list.", Severity: sdk.SeverityMedium,
			FalsePositives: []string{"A network changed hands after the list was made."},
		}},
		New: func() sdk.Instance { return &detector{} },
	}
}

type detector struct{ networks []netip.Prefix }

func (d *detector) Config() any { return nil }

// Start reads the list. It is open for no longer than that.
func (d *detector) Start(_ context.Context, host sdk.Host) error {
	list, err := host.Model(watchlist)
	if err != nil {
		return err
	}
	defer list.Close()
	if d.networks, err = parse(bufio.NewScanner(list)); err != nil {
		return sdk.Errorf(sdk.Unsupported, "%s %s: %w", list.ID, list.Version, err)
	}
	host.Log().Info("read the watch list", "version", list.Version, "networks", len(d.networks))
	return nil
}

func parse(lines *bufio.Scanner) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, p.Masked())
	}
	return out, lines.Err()
}

func (d *detector) watched(a netip.Addr) (netip.Prefix, bool) {
	for _, p := range d.networks {
		if p.Contains(a.Unmap()) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// Inspect looks at each flow by itself, so that it has nothing to keep from one batch to the next.
func (d *detector) Inspect(_ context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Flows {
		f := &batch.Flows[i]
		network, ok := d.watched(f.Dst)
		if !ok {
			continue
		}
		err := sink.Finding(sdk.Finding{
			Rule: "watched", Severity: sdk.SeverityMedium, Risk: 50, Confidence: 0.8,
			Src: f.Src.String(), Dst: f.Dst.String(), Start: f.Start, End: f.End, Packets: slices.Clone(f.Packets), Flows: []sdk.FlowRef{f.Ref()},
			Summary: fmt.Sprintf("%s talks to %s of the watched network %s.", f.Src, f.Dst, network),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Flush has nothing pending.
func (d *detector) Flush(context.Context, sdk.FindingSink) error { return nil }
