// Package block is the notifier picket/block: what goes in is a notice of an alert, what happens is that the firewall
// stops talking to the address outside that the alert is about, and what comes out is a receipt by which that can be
// taken back.
//
// It is the proof of the contract for a notifier that acts. What it must never do comes first: it blocks single public
// addresses, never those of one's own networks, never more than a limit, and it only takes back what it did itself.
package block

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/block",
		Kind:    sdk.KindNotifier,
		Summary: "Blocks the address outside that an alert is about at an OPNsense firewall, and takes that back.",
		New:     func() sdk.Instance { return New() },
	}
}

// Notifier changes one alias of one firewall.
type Notifier struct {
	config   Config
	host     sdk.Host
	guard    guard
	firewall *firewall
}

// New returns a notifier that has not been started.
func New() *Notifier { return &Notifier{} }

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return &n.config }

// Validate implements sdk.Validator.
func (n *Notifier) Validate() error { return n.config.validate() }

// Start implements sdk.Starter.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	if n.config.Key == "" || n.config.Secret == "" {
		return sdk.Errorf(sdk.InvalidConfig, "key, secret: set the login of the firewall's interface")
	}
	base, err := rest.Base("url", n.config.URL)
	if err != nil {
		return err
	}
	if n.guard, err = newGuard(n.config.Never); err != nil {
		return err
	}
	n.host, n.firewall = host, newFirewall(&n.config, &rest.Client{Host: host, Base: base, Roots: n.config.CACertificates})
	return nil
}

// Notify blocks. A test only looks whether the firewall can be asked; an alert that is resolved changes nothing, because
// taking back is an order of its own.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	if n.firewall == nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.Internal, "Notify was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	switch {
	case notice.Event == "test":
		_, err := n.firewall.list(ctx)
		return sdk.Receipt{}, err
	case notice.Event != "alert.firing", notice.Severity.Rank() < sdk.Severity(n.config.MinSeverity).Rank():
		return sdk.Receipt{}, nil
	}
	target, err := n.target(notice)
	if err != nil {
		return sdk.Receipt{}, err
	}
	return n.block(ctx, notice.ID, target)
}

// target is the side of the alert that may be blocked. With two there is no telling which one is the attacker.
func (n *Notifier) target(notice sdk.Notice) (netip.Addr, error) {
	if notice.Alert == nil {
		return netip.Addr{}, sdk.Errorf(sdk.Unsupported, "the notice is about no traffic, so there is nothing to block")
	}
	var may []netip.Addr
	var why []string
	for _, side := range []string{notice.Alert.Src, notice.Alert.Dst} {
		a, ok := address(side)
		if !ok {
			continue
		}
		allowed, reason := n.guard.allows(a)
		if allowed {
			may = append(may, a)
		} else {
			why = append(why, a.String()+" "+reason)
		}
	}
	switch {
	case len(may) == 1:
		return may[0], nil
	case len(may) == 2 && may[0] == may[1]:
		return may[0], nil
	case len(may) == 2:
		return netip.Addr{}, sdk.Errorf(sdk.Unsupported, "both %s and %s lie outside, so nothing is blocked: state your own networks in never", may[0], may[1])
	case len(why) > 0:
		return netip.Addr{}, sdk.Errorf(sdk.Unsupported, "nothing is blocked: %s", strings.Join(why, ", "))
	}
	return netip.Addr{}, sdk.Errorf(sdk.Unsupported, "the alert names no single address to block")
}

// address reads "address" or "address:port". A prefix, a name or a hardware address is none.
func address(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}

// block adds the address. One that somebody else has blocked before is theirs to take back. What this instance is about
// to do is written down first, so that after a lost answer it is known to be its own.
func (n *Notifier) block(ctx context.Context, id string, a netip.Addr) (sdk.Receipt, error) {
	blocked, err := n.firewall.list(ctx)
	if err != nil {
		return sdk.Receipt{}, err
	}
	key := "block/" + a.String()
	mine, err := n.host.State().Get(key)
	if err != nil {
		return sdk.Receipt{}, err
	}
	r := sdk.Receipt{ForeignID: n.config.Alias + "/" + a.String(), Undoable: true}
	switch {
	case blocked[a] && string(mine) != id: // by somebody else, or for an earlier notice
		r.Undoable = false
		return r, nil
	case blocked[a]:
		return r, nil
	case len(blocked) >= n.config.MaxBlocked:
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "alias %s has %d addresses and max_blocked is %d: take some out, or raise max_blocked", n.config.Alias, len(blocked), n.config.MaxBlocked)
	}
	if err := n.host.State().Put(key, []byte(id)); err != nil {
		return sdk.Receipt{}, err
	}
	if err := n.firewall.change(ctx, "add", a); err != nil {
		return sdk.Receipt{}, err
	}
	n.host.Log().Info("blocked", "address", a, "notice", id)
	return r, n.confirm(ctx, a, true)
}

// Undo takes back what a receipt stands for. Taking back twice is no error.
func (n *Notifier) Undo(ctx context.Context, receipt sdk.Receipt) error {
	if n.firewall == nil {
		return sdk.Errorf(sdk.Internal, "Undo was called before Start")
	}
	text, ours := strings.CutPrefix(receipt.ForeignID, n.config.Alias+"/")
	a, err := netip.ParseAddr(text)
	if !ours || err != nil || !receipt.Undoable {
		return sdk.Errorf(sdk.Unsupported, "%q is nothing that this instance can take back", receipt.ForeignID)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	if err := n.firewall.change(ctx, "delete", a); err != nil {
		return err
	}
	if err := n.confirm(ctx, a, false); err != nil {
		return err
	}
	n.host.Log().Info("no longer blocked", "address", a)
	return n.host.State().Put("block/"+a.String(), nil)
}

// Status says whether the address is still blocked: somebody may have taken it out at the firewall.
func (n *Notifier) Status(ctx context.Context, receipt sdk.Receipt) (sdk.DeliveryStatus, error) {
	if n.firewall == nil {
		return sdk.DeliveryStatus{}, sdk.Errorf(sdk.Internal, "Status was called before Start")
	}
	text, ours := strings.CutPrefix(receipt.ForeignID, n.config.Alias+"/")
	a, err := netip.ParseAddr(text)
	if !ours || err != nil {
		return sdk.DeliveryStatus{}, sdk.Errorf(sdk.Unsupported, "%q is nothing that this instance did", receipt.ForeignID)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	blocked, err := n.firewall.list(ctx)
	if err != nil {
		return sdk.DeliveryStatus{}, err
	}
	if blocked[a] {
		return sdk.DeliveryStatus{State: sdk.DeliveryOpen, Text: "blocked"}, nil
	}
	return sdk.DeliveryStatus{State: sdk.DeliveryUndone, Text: "not blocked"}, nil
}

// confirm looks whether a change is really there, rather than to believe the answer to it.
func (n *Notifier) confirm(ctx context.Context, a netip.Addr, want bool) error {
	blocked, err := n.firewall.list(ctx)
	if err != nil {
		return err
	}
	if blocked[a] != want {
		return sdk.Errorf(sdk.Downstream, "%s says done, but %s", n.firewall.client.Name(),
			map[bool]string{true: fmt.Sprintf("%s is not in alias %s", a, n.config.Alias), false: fmt.Sprintf("%s is still in alias %s", a, n.config.Alias)}[want])
	}
	return nil
}
