package idsrules

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// maxPackets is how many packets a finding names as evidence.
const maxPackets = 32

// alertKey names what is one finding: a rule and who sends to whom.
type alertKey struct {
	rule     int
	src, dst addr
}

// alerts are the matches of one key so far.
type alerts struct {
	key         alertKey
	order       uint64
	first, last int64
	count       int
	told        int
	packets     []uint64
	port        uint16
}

// ledger merges matches. Each is told when it appears and whenever there are eight times as many, and at the end as it is then.
type ledger struct {
	byKey     map[alertKey]*alerts
	due       []*alerts
	most      int
	order     uint64
	forgotten uint64
}

func newLedger(most int) ledger { return ledger{byKey: map[alertKey]*alerts{}, most: most} }

// add counts a match. The keys begun first make room when there are too many.
func (l *ledger) add(r *rule, v *view) {
	k := alertKey{rule: r.index}
	if v.packet.ipVersion != 0 {
		k.src, k.dst = v.src.addr, v.dst.addr
	}
	a := l.byKey[k]
	if a == nil {
		if len(l.byKey) >= l.most {
			l.forget()
		}
		l.order++
		a = &alerts{key: k, order: l.order, first: v.packet.time, last: v.packet.time, port: v.dst.port}
		l.byKey[k] = a
	}
	a.count++
	a.last = max(a.last, v.packet.time)
	if n := len(a.packets); n < maxPackets && (n == 0 || a.packets[n-1] != v.packet.number) {
		a.packets = append(a.packets, v.packet.number)
	}
	if a.count >= 8*a.told && !slices.Contains(l.due, a) {
		l.due = append(l.due, a)
	}
}

// forget makes room: the tenth that was begun first goes, after it was told.
func (l *ledger) forget() {
	list := l.inOrder()
	for _, a := range list[:max(1, len(list)/10)] {
		if a.told < a.count && !slices.Contains(l.due, a) {
			l.due = append(l.due, a)
		}
		delete(l.byKey, a.key)
		l.forgotten++
	}
}

func (l *ledger) inOrder() []*alerts {
	list := make([]*alerts, 0, len(l.byKey))
	for _, a := range l.byKey {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *alerts) int {
		if a.order < b.order {
			return -1
		}
		return 1
	})
	return list
}

// tell reports what is due.
func (l *ledger) tell(rules []*rule, sink sdk.FindingSink) error {
	for _, a := range l.due {
		a.told = a.count
		if err := sink.Finding(a.finding(rules[a.key.rule])); err != nil {
			return err
		}
	}
	l.due = l.due[:0]
	return nil
}

// finish reports all that was not told as it is.
func (l *ledger) finish(rules []*rule, sink sdk.FindingSink) error {
	for _, a := range l.inOrder() {
		if a.told < a.count && !slices.Contains(l.due, a) {
			l.due = append(l.due, a)
		}
	}
	return l.tell(rules, sink)
}

// confidences and risks go by what the rule calls its severity: a signature says what it saw, not what it means.
var (
	confidences = map[sdk.Severity]float64{sdk.SeverityHigh: 0.8, sdk.SeverityMedium: 0.6, sdk.SeverityLow: 0.4, sdk.SeverityInfo: 0.2}
	risks       = map[sdk.Severity]int{sdk.SeverityHigh: 75, sdk.SeverityMedium: 50, sdk.SeverityLow: 25, sdk.SeverityInfo: 5}
)

func (a *alerts) finding(r *rule) sdk.Finding {
	out := sdk.Finding{
		ID: fmt.Sprintf("%d:%d:%d", r.gid, r.sid, r.rev), Detector: "picket/ids-rules", Rule: RuleSignature, Severity: r.severity(),
		Risk: risks[r.severity()], Confidence: confidences[r.severity()], Techniques: slices.Clone(r.techniques),
		Start: time.Unix(0, a.first).UTC(), End: time.Unix(0, a.last).UTC(), Packets: slices.Clone(a.packets), Flows: []sdk.FlowRef{},
		Features: map[string]float64{"sid": float64(r.sid), "rev": float64(r.rev), "priority": float64(r.priority), "matches": float64(a.count)},
	}
	between := ""
	if a.key.src != (addr{}) || a.key.dst != (addr{}) {
		out.Src, out.Dst = a.key.src.netip().String(), a.key.dst.netip().String()
		between = fmt.Sprintf(" (%s to %s)", out.Src, out.Dst)
		if a.port != 0 {
			out.Features["port"] = float64(a.port)
			between = fmt.Sprintf(" (%s to %s, port %d)", out.Src, out.Dst, a.port)
		}
	}
	msg := r.msg
	if msg == "" {
		msg = "Rule " + strconv.Itoa(int(r.sid))
	}
	times := ""
	if a.count > 1 {
		times = fmt.Sprintf(", %d times", a.count)
	}
	out.Summary = msg + between + times + "."
	return out
}
