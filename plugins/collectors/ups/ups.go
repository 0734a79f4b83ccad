// Package ups is the collector picket/ups: what goes in is what upsd, the server of Network UPS Tools, says of the power
// supplies that it watches (RFC 9271), what comes out are samples of their batteries, voltages and load.
package ups

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

const (
	maxLine      = 1024
	maxSupplies  = 64
	maxVariables = 512 // of one supply
	maxName      = 128
)

// Config is what an operator sets.
type Config struct {
	Address string          `json:"address" default:"127.0.0.1:3493" format:"hostport" doc:"Where upsd listens."`
	Timeout config.Duration `json:"timeout" default:"5s" min:"100ms" max:"1m" doc:"How long all answers together may take."`
}

// Collector asks one server.
type Collector struct {
	config Config
	host   sdk.Host
}

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/ups",
		Kind:    sdk.KindCollector,
		Summary: "Measures the uninterruptible power supplies that a Network UPS Tools server knows.",
		New:     func() sdk.Instance { return New() },
	})
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Collect asks for the list of supplies and for the variables of each. A supply whose driver is gone is told as such; the others
// go on.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
	defer cancel()
	raw, err := c.host.Dial(ctx, "tcp", c.config.Address)
	if err != nil {
		return err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	conn := &client{Conn: raw, r: bufio.NewReaderSize(raw, maxLine)}
	supplies, err := conn.list("UPS", "", maxSupplies)
	if err != nil {
		return explain(ctx, err)
	}
	out := emitter{sink: sink, now: c.host.Now()}
	for _, s := range supplies {
		variables, err := conn.list("VAR", s.name, maxVariables)
		var refused *refusal
		switch {
		case errors.As(err, &refused): // the driver is not connected, or what it said is old
			out.status(supply{id: s.name, name: s.name}, "power_supply", "ok", false)
		case err != nil:
			return explain(ctx, err)
		default:
			out.supply(s.name, variables)
		}
	}
	return out.err
}

func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return sdk.Errorf(sdk.Temporary, "upsd does not answer in time: %w", ctx.Err())
	}
	var refused *refusal
	if errors.As(err, &refused) {
		return sdk.Errorf(sdk.Downstream, "upsd refuses to answer: %w", err)
	}
	return sdk.Errorf(sdk.Temporary, "ask upsd: %w", err)
}

// client speaks with one upsd.
type client struct {
	net.Conn
	r *bufio.Reader
}

// entry is a line of a list: the name of a supply and its description, or of a variable and its value.
type entry struct{ name, value string }

// refusal is upsd's own word for what it does not do, for example DATA-STALE.
type refusal struct{ word string }

func (r *refusal) Error() string { return r.word }

// list asks for all supplies, or all variables of one.
func (c *client) list(kind, of string, most int) ([]entry, error) {
	what := kind
	if of != "" {
		what += " " + of
	}
	if _, err := fmt.Fprintf(c, "LIST %s\n", what); err != nil {
		return nil, err
	}
	first, err := c.line()
	if err != nil {
		return nil, err
	}
	if first != "BEGIN LIST "+what {
		return nil, fmt.Errorf("it began with %.60q", first)
	}
	var out []entry
	for {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		if line == "END LIST "+what {
			return out, nil
		}
		rest, ok := strings.CutPrefix(line, what+" ")
		e, good := parseEntry(rest)
		if !ok || !good {
			return nil, fmt.Errorf("it said %.60q in a list", line)
		}
		if len(out) == most {
			return nil, fmt.Errorf("its list is longer than %d lines", most)
		}
		out = append(out, e)
	}
}

func (c *client) line() (string, error) {
	text, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("it said a line of more than %d bytes", maxLine)
	}
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(text), "\r\n")
	if word, refused := strings.CutPrefix(line, "ERR "); refused {
		return "", &refusal{clean(word)}
	}
	return line, nil
}

// parseEntry reads NAME "VALUE", in which \" and \\ stand for the signs themselves.
func parseEntry(text string) (entry, bool) {
	name, quoted, ok := strings.Cut(text, " ")
	if !ok || name == "" || len(name) > maxName || clean(name) != name || len(quoted) < 2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
		return entry{}, false
	}
	var value strings.Builder
	inside := quoted[1 : len(quoted)-1]
	for i := 0; i < len(inside); i++ {
		switch {
		case inside[i] == '"', inside[i] == '\\' && i+1 == len(inside):
			return entry{}, false
		case inside[i] == '\\':
			i++
		}
		value.WriteByte(inside[i])
	}
	return entry{name, clean(value.String())}, true
}

// clean makes what a server says printable and short.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

// supply is what all samples of one have in common.
type supply struct{ id, name string }

type emitter struct {
	sink sdk.SampleSink
	now  time.Time
	err  error
}

func (e *emitter) gauge(s supply, metric, unit string, value float64, more ...string) {
	labels := map[string]string{"hw.id": s.id, "hw.name": s.name}
	for i := 0; i+1 < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	if e.err == nil {
		e.err = e.sink.Sample(sdk.Sample{Metric: metric, Unit: unit, Type: sdk.Gauge, Labels: labels, Time: e.now, Value: value})
	}
}

// status has no unit, though the conventions say 1: in PromQL that would make a ratio of a state.
func (e *emitter) status(s supply, kind, state string, is bool) {
	value := 0.0
	if is {
		value = 1
	}
	e.gauge(s, "hw.status", "", value, "hw.type", kind, "hw.state", state)
}

// figures are variables of NUT that are a metric as they are, but for a factor.
var figures = []struct {
	variable, metric, unit string
	factor                 float64
	location               string
}{
	{"battery.charge", "hw.battery.charge", "1", 0.01, ""},
	{"ups.load", "hw.power_supply.utilization", "1", 0.01, ""},
	{"battery.voltage", "hw.voltage", "V", 1, "battery"},
	{"input.voltage", "hw.voltage", "V", 1, "input"},
	{"output.voltage", "hw.voltage", "V", 1, "output"},
	{"battery.temperature", "hw.temperature", "Cel", 1, "battery"},
	{"ups.temperature", "hw.temperature", "Cel", 1, "ups"},
}

// supply gives what one supply says. What it does not say is left out.
func (e *emitter) supply(id string, variables []entry) {
	v := map[string]string{}
	for _, x := range variables {
		v[x.name] = x.value
	}
	s := supply{id: id, name: v["device.model"]}
	if s.name == "" {
		s.name = id
	}
	for _, f := range figures {
		n, err := strconv.ParseFloat(v[f.variable], 64)
		if err != nil || n != n || n > 1e9 || n < -1e9 {
			continue
		}
		if f.location == "" {
			e.gauge(s, f.metric, f.unit, n*f.factor)
		} else {
			e.gauge(s, f.metric, f.unit, n*f.factor, "hw.sensor_location", f.location)
		}
	}
	flags := strings.Fields(v["ups.status"])
	has := func(flag string) bool {
		for _, f := range flags {
			if f == flag {
				return true
			}
		}
		return false
	}
	if len(flags) > 0 { // OL online, OB on battery, LB battery low, RB replace battery, CHRG charging, DISCHRG discharging
		e.status(s, "power_supply", "ok", has("OL"))
		e.status(s, "battery", "charging", has("CHRG"))
		e.status(s, "battery", "discharging", has("OB") || has("DISCHRG"))
		e.status(s, "battery", "degraded", has("LB"))
		e.status(s, "battery", "failed", has("RB"))
	}
	if seconds, err := strconv.ParseFloat(v["battery.runtime"], 64); err == nil && seconds >= 0 && seconds < 1e9 {
		e.gauge(s, "hw.battery.time_left", "s", seconds, "hw.battery.state", "discharging")
	}
}
