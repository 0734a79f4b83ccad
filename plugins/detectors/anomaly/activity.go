package anomaly

import (
	"math"
	"math/bits"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// What is counted of a host each hour.
const (
	begun  = iota // flows
	peers         // different hosts
	failed        // flows that nobody answered
	sent          // bytes
	counters
)

var counterNames = [counters]string{"flows", "hosts", "unanswered", "sent"}

// leastOf is what of each must be there to be told, as a logarithm to base 2: 64 flows, 32 hosts, 32 failures, 16 MiB.
var leastOf = [counters]float64{6, 5, 5, 24}

// activity is what a host does in an hour, and what it does in an hour usually: the mean and the square of the deviation of logarithms
// to base 2, of which the latest hours count most. A network's is that of its hosts.
type activity struct {
	hour         int64
	now          [counters]uint64
	hosts        sketch.Sketch
	hours        uint32
	mean, spread [counters]float64
}

const (
	anHour = int64(time.Hour)
	// hostHours and segmentHours must be known.
	hostHours, segmentHours = 24, 96
	// leastSpread is half an octave: who always does the same may do a little more.
	leastSpread = 0.5
	// farOut and farFromOthers are how many deviations above the mean of the host and of its network are told.
	farOut, farFromOthers = 5.0, 3.0
	// enoughCounters are far out at once, and manyCounters are more than chance.
	enoughCounters, manyCounters = 2, 3
	// mostOf is how many deviations above the mean an hour teaches at most.
	mostOf = 3.0
)

// activityRule is the rule of matters that are a host's activity; those below are of classes.
const activityRule = classes

// count adds a flow to the hour of its host, and judges the hour when it has doubled.
func (d *Detector) count(f *sdk.Flow, host, segment *group, sink sdk.FindingSink) error {
	a, hour := &host.activity, f.Start.UnixNano()/anHour
	if hour > a.hour {
		if a.hour > 0 {
			a.close(&segment.activity, int64(d.cfg.HalfLife))
		}
		a.hour, a.now, a.hosts = hour, [counters]uint64{}, sketch.Sketch{}
	}
	addr := f.Dst.As16()
	a.now[begun]++
	a.now[peers] += a.hosts.Add(hash(addr[:]))
	a.now[sent] += f.FwdPayload
	if f.RevPackets == 0 || f.Proto == sdk.ProtoTCP && f.RevPayload == 0 && f.RevFlags&sdk.FlagRST != 0 {
		a.now[failed]++
	}
	n := a.now[begun]
	if n < 64 || n&(n-1) != 0 || f.Start.UnixNano()-host.first < int64(d.cfg.Learn) {
		return nil
	}
	if signs := a.farOut(&segment.activity); bits.OnesCount32(signs) >= enoughCounters {
		return d.see(issue.Key{Client: host.addr, Rule: activityRule}, f, signs, sink)
	}
	return nil
}

// value is a counter of this hour as a logarithm.
func (a *activity) value(i int) float64 {
	n := a.now[i]
	if i == peers {
		n /= sketch.Unit
	}
	return rounded(math.Log2(float64(n + 1)))
}

// deviations is by how many of its deviations a value lies above the mean.
func (a *activity) deviations(i int, v float64) float64 {
	return rounded((v - a.mean[i]) / max(leastSpread, math.Sqrt(a.spread[i])))
}

func rounded(v float64) float64 { return round(v, 6) }

// farOut are the counters of this hour that are far above what is usual for the host and for its network.
func (a *activity) farOut(segment *activity) (signs uint32) {
	if a.hours < hostHours || segment.hours < segmentHours {
		return 0
	}
	for i := range counters {
		if v := a.value(i); v >= leastOf[i] && a.deviations(i, v) >= farOut && segment.deviations(i, v) >= farFromOthers {
			signs |= 1 << i
		}
	}
	return signs
}

// close makes an hour part of what is usual. An hour that is far out teaches less than it was.
func (a *activity) close(segment *activity, halfLife int64) {
	for _, to := range []*activity{a, segment} {
		share := max(1/float64(to.hours+1), 1-math.Exp2(-float64(anHour)/float64(halfLife)))
		for i := range counters {
			v := a.value(i)
			if to.hours >= hostHours {
				v = min(v, to.mean[i]+mostOf*max(leastSpread, math.Sqrt(to.spread[i])))
			}
			off := v - to.mean[i]
			to.mean[i] = rounded(to.mean[i] + share*off)
			to.spread[i] = rounded((1 - share) * (to.spread[i] + share*off*off))
		}
		to.hours = min(to.hours+1, 1<<20)
	}
}

// usual is what a host does in an hour usually, of a counter.
func (a *activity) usual(i int) float64 {
	return math.Round(math.Exp2(a.mean[i]) - 1)
}

// hash is FNV-1a of 32 bits with a last stir.
func hash(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h ^ h>>15
}
