// Package ot finds what is done to industrial controllers, and who does it that should not.
//
// In go the facts of the parsers of machines (Modbus, DNP3, S7comm, EtherNet/IP, BACnet, IEC 104, OPC UA, PROFINET DCP), out
// come findings. Every write and command is told, as low, once for each source, device and function. What stops, restarts,
// programs or silences a device is told as dangerous. Writes weigh more when whoever writes is not one of the device's
// masters, who are listed or learned. README.md has the reasoning.
//
// The reading path: act.go says what a message does; device.go remembers each device and who speaks to it within bounds;
// ot.go judges message by message; incident.go keeps and reports what was found.
package ot

import (
	"context"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleWrite    = "write"
	RuleCommand  = "command"
	RuleStart    = "start"
	RuleStop     = "stop"
	RuleRestart  = "restart"
	RuleDownload = "download"
	RuleUpload   = "upload"
	RuleSilence  = "silence"
	RuleProbe    = "probe"
	RuleSurvey   = "survey"
	RuleMaster   = "new-master"
	RuleFunction = "new-function"
	RuleFlood    = "flood"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	engineering := "An engineer at work on the plant."
	return sdk.Plugin{
		ID:      "picket/ot",
		Kind:    sdk.KindDetector,
		Summary: "Finds what is done to industrial controllers, and who does it that should not.",
		Rules: []sdk.Rule{
			{ID: RuleWrite, Purpose: "A host wrote values, parameters or the clock of a device.", Techniques: []string{"T0836"}, Severity: sdk.SeverityLow,
				FalsePositives: []string{"Ordinary control; it is told as low, and as more only of hosts that are no master of the device."}},
			{ID: RuleCommand, Purpose: "A host gave the process a command: it switched a point or set a value.", Techniques: []string{"T0855"}, Severity: sdk.SeverityLow,
				FalsePositives: []string{"Ordinary control; it is told as low, and as more only of hosts that are no master of the device."}},
			{ID: RuleStart, Purpose: "A host started a controller or a program in it.", Techniques: []string{"T0858"}, Severity: sdk.SeverityMedium, FalsePositives: []string{engineering}},
			{ID: RuleStop, Purpose: "A host stopped a controller or a program in it.", Techniques: []string{"T0858"}, Severity: sdk.SeverityHigh, FalsePositives: []string{engineering}},
			{ID: RuleRestart, Purpose: "A host restarted or reset a device.", Techniques: []string{"T0816"}, Severity: sdk.SeverityHigh, FalsePositives: []string{engineering}},
			{ID: RuleDownload, Purpose: "A host loaded a program or files into a device, or removed them.", Techniques: []string{"T0843", "T0889"}, Severity: sdk.SeverityHigh,
				FalsePositives: []string{engineering, "Software that manages versions of programs."}},
			{ID: RuleUpload, Purpose: "A host read the program or files of a device.", Techniques: []string{"T0845"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{engineering, "A backup of the plant.", "A station that collects records of disturbances, which is told as low."}},
			{ID: RuleSilence, Purpose: "A host told a device to say less, or nothing.", Techniques: []string{"T0804", "T0814"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"Masters that pause reports while they start, which is told as low.", engineering}},
			{ID: RuleProbe, Purpose: "A host asked a device for one thing after the other that it does not have.", Techniques: []string{"T0846", "T0888", "T0861"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A master whose list of points is that of another device.", "A vulnerability scanner."}},
			{ID: RuleSurvey, Purpose: "A host asked many devices what they are.", Techniques: []string{"T0846", "T0888"}, Severity: sdk.SeverityLow,
				FalsePositives: []string{"An inventory of the plant.", "A master that starts."}},
			{ID: RuleMaster, Purpose: "A host speaks to a device that is not one of its masters.", Techniques: []string{"T0848"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A new master, or one that has a new address."}},
			{ID: RuleFunction, Purpose: "A master uses a function that nobody used on the device while it was learned.", Techniques: []string{"T0855"}, Severity: sdk.SeverityLow,
				FalsePositives: []string{"A function that is needed once in a while."}},
			{ID: RuleFlood, Purpose: "A host sent commands without waiting for a single answer.", Techniques: []string{"T0814", "T0806"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A sensor that sees one direction of fast cyclic writes."}},
		},
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsOT}, Without: []string{sdk.PartDetails}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Masters     []string        `json:"masters" format:"cidr" doc:"Hosts that may read and write devices. Without any, those are learned for each device."`
	Learn       config.Duration `json:"learn" default:"24h" min:"1m" max:"2160h" doc:"How long after its first message a device's masters and functions are learned, by the time in the traffic."`
	Probes      int             `json:"probes" default:"16" min:"4" max:"64" doc:"How many different things a device must refuse to a host that probes it."`
	Ignore      []string        `json:"ignore" format:"cidr" doc:"Hosts of which nothing is told, for example the engineers' stations during maintenance."`
	MaxDevices  int             `json:"max_devices" default:"4096" min:"16" max:"100000" doc:"How many devices are remembered; the one quiet for longest is forgotten first."`
	MaxFindings int             `json:"max_findings" default:"2048" min:"16" max:"100000" doc:"How many findings grow at a time; the oldest is reported and forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg             Config
	host            sdk.Host
	masters, ignore prefixes
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	clock     int64
	devices   devices
	askers    askers
	incidents incidents
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	var err error
	if d.masters, err = parsePrefixes(d.cfg.Masters); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "masters: %w", err)
	}
	if d.ignore, err = parsePrefixes(d.cfg.Ignore); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", err)
	}
	d.memory = d.empty()
	return nil
}

func (d *Detector) empty() memory {
	return memory{devices: newDevices(d.cfg.MaxDevices), incidents: newIncidents(d.cfg.MaxFindings)}
}

// Inspect takes messages one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.OT {
		f := &batch.OT[i]
		d.clock = max(d.clock, f.Time.UnixNano()) // a message from the past must not turn the clock back
		if f.Protocol == "profinet-dcp" {
			d.named(f)
		} else {
			d.spoken(f)
		}
		if err := d.incidents.report(false, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// spoken judges a message over IP.
func (d *Detector) spoken(f *sdk.OT) {
	from, to, port := f.Client, f.Server, f.ServerPort
	if f.FromServer {
		from, to, port = to, from, f.ClientPort
	}
	if f.Response || f.Action == "" && f.FromServer {
		// The device speaks: as an answer, or without having been asked.
		if f.FromServer {
			port = f.ServerPort
		} else {
			port = f.ClientPort
		}
		d.answered(f, hostOf(to), place{hostOf(from), port})
		return
	}
	if !from.IsValid() || d.ignore.contain(from) {
		return
	}
	if isGroup(to) && deedOf(f).act <= reads {
		return // discovery by calling out, of which a device says nothing
	}
	d.asked(f, from, place{hostOf(to), port})
}

// asked judges a request.
func (d *Detector) asked(f *sdk.OT, from netip.Addr, to place) {
	does := deedOf(f)
	dev, p := d.devices.speak(to, hostOf(from), d.clock)
	p.ask(f, does.act)
	stranger, learned := d.knows(dev, p, from)
	fresh := dev.uses(f.Function, learned) && !stranger
	if does.act == asks {
		if surveyed := d.askers.ask(p.host, to.host, d.clock); surveyed != nil {
			o := d.incidents.add(key{rule: RuleSurvey, from: p.host}, ordinary, ordinary, usual, f, d.clock)
			o.spread = append(o.spread[:0], surveyed...)
		}
	}
	one := key{rule: ruleOf[does.act], from: p.host, at: to}
	d.welcome(p, to)
	if one.rule == "" {
		switch {
		case stranger:
			one.rule = RuleMaster
			d.incidents.add(one, notable, notable, foreign, f, d.clock)
		case fresh:
			one.rule, one.what = RuleFunction, f.Function
			d.incidents.add(one, ordinary, unknown(does.act), unused, f, d.clock)
		}
		return
	}
	if does.byFunction {
		one.what = f.Function
	}
	grave, why := does.grave, usual
	switch {
	case stranger:
		grave, why = min(grave+2, dangerous), foreign
	case p.newcomer && p.reads < settledRequests:
		grave, why = max(grave, notable), intruding
	case fresh:
		grave, why = max(grave, notable), unused
	}
	p.waiting, p.waitsFor = d.incidents.add(one, does.grave, grave, why, f, d.clock).number, f.Function
	if p.unanswered(d.clock) {
		d.incidents.add(key{rule: RuleFlood, from: p.host, at: to}, notable, notable, usual, f, d.clock)
	}
}

// welcome takes back what was said of a newcomer that took up the work of a master.
func (d *Detector) welcome(p *peer, at place) {
	if p.newcomer && p.settled() {
		p.newcomer = false
		d.incidents.clear(p.host, at)
	}
}

// knows reports whether a host is none of the masters of a device, and whether the device has been learned.
func (d *Detector) knows(dev *device, p *peer, from netip.Addr) (stranger, learned bool) {
	if len(d.masters) > 0 {
		return !d.masters.contain(from), false
	}
	learned = d.clock-dev.first > int64(d.cfg.Learn)
	p.learned = p.learned || !learned
	return !p.learned, learned
}

// unknown is how grave a new function is: reading harms nothing.
func unknown(a act) grave {
	if a == asks || a == reads {
		return ordinary
	}
	return notable
}

// answered takes what a device says to a host: whether it did what it was asked.
func (d *Detector) answered(f *sdk.OT, to host, from place) {
	p := d.devices.spoken(from, to)
	if p == nil {
		return
	}
	p.pending = 0
	if !f.Response { // it reports by itself, for which masters wait
		p.reads, p.last = p.reads+1, d.clock
		d.welcome(p, from)
		return
	}
	if p.waiting != 0 && (p.waitsFor == answersTo(f) || f.Protocol == "dnp3" && f.Function == dnp3Response) {
		d.incidents.answer(p.waiting, f.Failed)
		p.waiting = 0
	}
	if !f.Failed {
		p.granted++
		return
	}
	p.refuse(d.cfg.Probes)
	if len(p.refused) >= d.cfg.Probes && p.refusals >= p.granted {
		d.incidents.add(key{rule: RuleProbe, from: to, at: from}, notable, notable, usual, f, d.clock)
	}
}

// dnp3Response is the function of every answer of DNP3 that was asked for.
const dnp3Response = 129

// answersTo is the function that an answer belongs to.
func answersTo(f *sdk.OT) uint32 {
	const encoding = 3 // of an answer in OPC UA is that of the request and this
	if f.Protocol == "opcua" {
		return f.Function - encoding
	}
	return f.Function
}

// named judges a message that gives names and addresses to devices of PROFINET, which has no addresses but hardware ones.
func (d *Detector) named(f *sdk.OT) {
	source := f.Details["source"]
	if f.Response {
		if ip, err := netip.ParseAddr(f.Details["ip"]); err == nil && !ip.IsUnspecified() {
			d.devices.of(place{host: cardOf(source)}, d.clock).address = hostOf(ip)
		}
		return
	}
	does := deedOf(f)
	rule := ruleOf[does.act]
	if rule == "" {
		return
	}
	to, grave, why := place{host: cardOf(f.Details["target"])}, does.grave, usual
	if ip, err := netip.ParseAddr(f.Details["ip"]); err == nil {
		dev := d.devices.of(to, d.clock)
		if dev.address != (host{}) && dev.address != hostOf(ip) {
			grave, why = max(grave, notable), moved
		}
		dev.address = hostOf(ip)
	}
	d.incidents.add(key{rule: rule, from: cardOf(source), at: to, what: f.Function}, does.grave, grave, why, f, d.clock)
}

// Flush reports what has grown since it was reported, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	if err := d.incidents.report(true, sink); err != nil {
		return err
	}
	if n := d.devices.forgotten + d.incidents.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_devices or max_findings", "forgotten", n)
	}
	d.memory = d.empty()
	return nil
}

// ofTime is a time of the memory as findings have it.
func ofTime(ns int64) time.Time { return time.Unix(0, ns).UTC() }
