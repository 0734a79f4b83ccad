package beacon

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	// alikeShare is how many of a beacon's calls must carry about the same amount.
	alikeShare = 0.5
	// pollerServices is from how many services, called from one host on one port in the same rhythm, the caller is taken
	// for a monitoring system.
	pollerServices = 4
	// pollerHosts is the same for hosts within the network, on whatever ports: an implant calls one server, and a monitoring
	// system asks each machine for what it serves.
	pollerHosts = 2
	// watchersShow is how long a monitoring system takes to be known by what else it does, so long its questions by SNMP stay open.
	watchersShow = int64(150 * time.Second)
	// commonCallers is from how many callers in the same rhythm a service is taken for one that the site runs on purpose.
	commonCallers = 5
)

// verdict is a pair that is regular, before it is put into words.
type verdict struct {
	pair  *pair
	calls []call // all, in order of start
	rhythm
	beats []call  // those at the ends of regular intervals
	count int     // of beats
	alike float64 // share of the beats that carry about the same amount
	// pausing is whether it is the pauses between the calls that are regular, rather than the times between their starts.
	pausing bool
}

// judgeAll looks at each pair that has grown and reports the beacons: while they go on, each again only when it has doubled,
// and at the end whatever has grown, with all the evidence. Later findings of a beacon have the id of the first.
func (d *Detector) judgeAll(final bool, sink sdk.FindingSink) error {
	var verdicts []verdict
	for _, p := range d.pairs.ordered(func(*pair) bool { return true }) {
		if v, ok := d.judge(p); ok {
			verdicts = append(verdicts, v.outline())
		}
	}
	for _, v := range verdicts {
		if err := d.report(v, verdicts, final, sink); err != nil {
			return err
		}
	}
	return nil
}

// early tells of a beacon while it goes on, so that whoever watches a network need not wait for the next look at everything. The
// pair is judged each time that its calls have grown by a fourth, if the last of them came evenly, and must have been regular
// the time before, too: then a monitoring system has called its other services as often, and is known by that.
func (d *Detector) early(p *pair, sink sdk.FindingSink) error {
	if len(p.calls) >= d.cfg.MaxCalls || !due(len(p.calls), d.cfg.MinCalls) || len(p.calls) < 2*p.reported {
		return nil
	}
	steady := p.steady
	p.steady = false
	if !d.even(p) || d.mayPoll(p) || !outside(p.key.dst.Addr()) && d.clock-p.calls[0].start < watchersShow {
		return nil
	}
	v, regular := d.judge(p)
	p.steady = regular
	if !regular || !steady || v.count < 2*p.reported {
		return nil
	}
	return d.report(v.outline(), d.related(p), false, sink)
}

// due reports whether so many are looked at early: as many as can be judged, and each time a fourth more.
func due(n, fewest int) bool {
	now := fewest
	for now < n {
		now += max(1, now/4)
	}
	return now == n
}

// mayPoll reports whether the caller calls as many other services as evenly as a monitoring system does: then the next look at
// everything tells, which judges each of them once.
func (d *Detector) mayPoll(p *pair) bool {
	alike := 0
	for _, other := range d.pairs.grown {
		if other.key.src != p.key.src || other.key.port != p.key.port || other.key.proto != p.key.proto || !d.many(other) || !d.even(other) {
			continue
		}
		if alike++; alike >= pollerServices {
			return true
		}
	}
	return false
}

// even reports whether a pair's last intervals may be those of a beacon: none is too short, or too long beside the others. It spares
// most pairs the judgement.
func (d *Detector) even(p *pair) bool {
	const last = 5
	var calls [last]call
	latest := calls[:copy(calls[:], p.calls[max(0, len(p.calls)-last):])]
	slices.SortFunc(latest, func(a, b call) int { return cmp.Compare(a.start, b.start) })
	return d.close(latest, func(before, next *call) int64 { return next.start - before.start }) ||
		d.close(latest, func(before, next *call) int64 { return next.start - before.end })
}

func (d *Detector) close(calls []call, between func(before, next *call) int64) bool {
	shortest, longest := int64(math.MaxInt64), int64(0)
	for i := range calls[1:] {
		gap := between(&calls[i], &calls[i+1])
		shortest, longest = min(shortest, gap), max(longest, gap)
	}
	return shortest >= int64(d.cfg.MinInterval) && float64(longest)*(1-d.cfg.MaxJitter) <= float64(shortest)*(1+d.cfg.MaxJitter)
}

// report tells of one beacon if there is something new to tell; the others show whether it is a monitoring system's work.
func (d *Detector) report(v verdict, others []verdict, final bool, sink sdk.FindingSink) error {
	enough := 2 * v.pair.reported
	if final {
		enough = v.pair.reported + 1
	}
	if v.count < enough || polls(v, others) {
		return nil
	}
	if v.beats == nil {
		v, _ = d.judge(v.pair)
	}
	v.pair.reported = v.count
	return sink.Finding(v.finding(callers(v, others), d.automation(&v, others)))
}

// outline is the verdict without its calls: at the end all pairs have one at the same time.
func (v verdict) outline() verdict {
	v.calls, v.regular, v.beats = nil, nil, nil
	return v
}

// many reports whether a pair has enough calls to be judged.
func (d *Detector) many(p *pair) bool { return len(p.calls) >= d.cfg.MinCalls }

// related are the verdicts on the pairs that share the caller, or the service.
func (d *Detector) related(p *pair) []verdict {
	var out []verdict
	for _, other := range d.pairs.ordered(func(other *pair) bool {
		a, b := p.key, other.key
		return a.service == b.service || a.src == b.src
	}) {
		if v, regular := d.judge(other); regular {
			out = append(out, v.outline())
		}
	}
	return out
}

// judge measures one pair. The calls of the verdict are valid until the next pair is judged.
func (d *Detector) judge(p *pair) (verdict, bool) {
	if !d.many(p) {
		return verdict{}, false
	}
	// Thresholds compare rounded values: the last digits differ between platforms.
	const digits = 6
	atLeast := d.cfg.Surprise - math.Pow10(-digits)
	rhythmOf := func(intervals []int64) rhythm {
		return d.scales.findRhythm(intervals, time.Duration(d.cfg.MinInterval).Seconds(), d.cfg.MaxJitter, atLeast)
	}
	regular := func(r rhythm) bool {
		return round(r.surprise, digits) >= d.cfg.Surprise && len(r.regular) >= d.cfg.MinCalls-1
	}
	v := verdict{pair: p, rhythm: rhythmOf(d.intervals(p))}
	fromStarts := regular(v.rhythm)
	if !fromStarts && !d.slow(p) {
		return v, false
	}
	v.calls = append(d.room.calls[:0], p.calls...)
	slices.SortFunc(v.calls, func(a, b call) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.ref.ID, b.ref.ID))
	})
	d.room.calls = v.calls
	if !fromStarts {
		if v.rhythm = rhythmOf(d.pauses(v.calls)); !regular(v.rhythm) {
			return v, false
		}
		v.pausing = true
	}
	if v.backToBack(&d.room) {
		return v, false
	}
	v.beats = v.atRegularIntervals(d.room.beats[:0])
	d.room.beats = v.beats
	v.count = len(v.beats)
	v.alike = alike(v.beats, &d.room)
	return v, v.alike >= alikeShare
}

// room is what judging a pair needs for its calls, kept from pair to pair.
type room struct {
	calls, beats []call
	numbers      []float64
}

// intervals are the times between the starts of a pair's calls. They are valid until the next pair is judged.
func (d *Detector) intervals(p *pair) []int64 {
	starts := d.starts[:0]
	for i := range p.calls {
		starts = append(starts, p.calls[i].start)
	}
	d.starts = starts
	slices.Sort(starts)
	for i := range starts[1:] {
		starts[i] = starts[i+1] - starts[i]
	}
	return starts[:len(starts)-1]
}

// pauses are the times from the end of each call to the start of the next one. They are valid until the next pair is judged.
func (d *Detector) pauses(calls []call) []int64 {
	out := d.starts[:0]
	for i := range calls[1:] {
		out = append(out, calls[i+1].start-calls[i].end)
	}
	d.starts = out
	return out
}

// slow reports whether calls take long beside the intervals between them: then an implant that sleeps after each of them is more
// regular in its pauses than in its starts.
func (d *Detector) slow(p *pair) bool {
	first, last, busy := p.calls[0].start, p.calls[0].start, int64(0)
	for i := range p.calls {
		c := &p.calls[i]
		first, last, busy = min(first, c.start), max(last, c.start), busy+c.end-c.start
	}
	return busy > (last-first)/20
}

// backToBack reports whether each call begins when the one before has ended: then work sets the pace, not a timer
// (password guessing, downloads in a row).
func (v *verdict) backToBack(r *room) bool {
	gaps := r.numbers[:0]
	for _, i := range v.regular {
		gaps = append(gaps, float64(v.calls[i+1].start-v.calls[i].end)/1e9/v.period)
	}
	r.numbers = gaps
	middle := round(medianOf(gaps), 6)
	return middle > -0.25 && middle < 0.1
}

func (v *verdict) atRegularIntervals(out []call) []call {
	for n, i := range v.regular {
		if n == 0 || v.regular[n-1] != i-1 {
			out = append(out, v.calls[i])
		}
		out = append(out, v.calls[i+1])
	}
	return out
}

// alike is the share of calls that sent within a quarter (or 32 bytes) of the median.
func alike(calls []call, r *room) float64 {
	sent := r.numbers[:0]
	for i := range calls {
		sent = append(sent, float64(calls[i].sent))
	}
	r.numbers = sent
	middle := medianOf(sent)
	n := 0
	for _, s := range sent {
		if math.Abs(s-middle) <= max(32, middle/4) {
			n++
		}
	}
	return float64(n) / float64(len(sent))
}

// polls reports whether the caller calls several services on the same port, or several hosts within the network, in the same
// rhythm: a monitoring system.
func polls(v verdict, all []verdict) bool {
	services, hosts := 0, map[netip.Addr]bool{}
	for _, other := range all {
		a, b := v.pair.key, other.pair.key
		if a.src != b.src || !sameRhythm(v, other) {
			continue
		}
		if a.port == b.port && a.proto == b.proto {
			services++
		}
		if to := b.dst.Addr(); !outside(to) {
			hosts[to] = true
		}
	}
	return services >= pollerServices || len(hosts) >= pollerHosts && !outside(v.pair.key.dst.Addr())
}

// automation reports whether a beacon is more likely one of a site's own machines at its work: it calls a service within the
// network that others call, too, or that machines poll by design, or is a monitoring system. What nobody else calls may be an
// implant's relay.
func (d *Detector) automation(v *verdict, all []verdict) bool {
	key := v.pair.key
	return !outside(key.dst.Addr()) && (polled(key.port) || callers(*v, all) > 1 || !d.pairs.sole(v.pair) || d.pairs.watched(key.src))
}

// polled names the services of sites that their clients ask on a timer: controllers, brokers, monitoring, clusters, databases.
func polled(port uint16) bool {
	switch port {
	case 102, 502, 1883, 1911, 2222, 2404, 4840, 8883, 9600, 18245, 20000, 34962, 34963, 34964, 44818, 47808, // controllers and sensors
		161, 5666, 6556, 9090, 9093, 9100, 9115, 9182, 9997, 10050, 10051, // monitoring
		1433, 1521, 3306, 5432, 6379, 9042, 11211, 27017, // databases
		2181, 2379, 2380, 4222, 5671, 5672, 8086, 8500, 9092, 9200, 10250: // clusters and queues
		return true
	}
	return false
}

// callers counts who calls the same service in the same rhythm.
func callers(v verdict, all []verdict) int {
	n := 0
	for _, other := range all {
		if v.pair.key.service == other.pair.key.service && sameRhythm(v, other) {
			n++
		}
	}
	return n
}

func sameRhythm(a, b verdict) bool {
	return math.Abs(a.period-b.period) <= 0.1*max(a.period, b.period)
}

// techniques are T1071 and, where the port tells, the sub-technique.
func techniques(s service) []string {
	out := []string{"T1071"}
	switch s.port {
	case 80, 443, 3000, 5000, 8000, 8008, 8080, 8081, 8443, 8888:
		return append(out, "T1071.001") // web
	case 20, 21, 69, 139, 445, 873, 989, 990:
		return append(out, "T1071.002") // file transfer
	case 25, 110, 143, 465, 587, 993, 995:
		return append(out, "T1071.003") // mail
	case 53, 853:
		return append(out, "T1071.004") // DNS
	case 1883, 4222, 5222, 5671, 5672, 8883:
		return append(out, "T1071.005") // publish and subscribe
	}
	return out
}

func outside(a netip.Addr) bool {
	return !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
