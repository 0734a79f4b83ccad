package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// hostileInput hands over what nobody should ever send. The plugin may refuse it; it must not end, and must still be
// there for the next call.
func hostileInput(ctx context.Context, b *bench, r *result) {
	b.configured(ctx, r, func(s Session) {
		for _, in := range b.hostile() {
			call, cancel := b.call(ctx)
			err, stuck := b.bounded(call, func() error { return in.call(call, s) })
			cancel()
			switch {
			case stuck:
				r.failf("%s: it did not answer within %s", in.what, b.o.Timeout)
				return
			case in.refuse && err == nil:
				r.failf("%s was accepted", in.what)
			case in.accept:
				r.expected(in.what, err)
			}
			call, cancel = b.call(ctx)
			err = s.Health(call, theInstance)
			cancel()
			if err != nil && sdk.ClassOf(err) == sdk.Internal {
				r.failf("after %s it does not answer any more: %v", in.what, err)
				return
			}
		}
	})
}

// input is one hostile call.
type input struct {
	what           string
	refuse, accept bool // it must be refused; it must be borne without an error of class Internal
	call           func(context.Context, Session) error
}

func (b *bench) hostile() []input {
	switch b.about.Kind {
	case sdk.KindDetector:
		return b.hostileFrames()
	case sdk.KindCollector:
		collect := func(req sdk.CollectRequest) func(context.Context, Session) error {
			return func(ctx context.Context, s Session) error { return s.Collect(ctx, theInstance, req, &emitted{}) }
		}
		return []input{
			{what: "a collection at no time", call: collect(sdk.CollectRequest{})},
			{what: "a collection in the year 9999, with a negative interval",
				call: collect(sdk.CollectRequest{Time: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Interval: -time.Hour})},
		}
	case sdk.KindDiscovery:
		var list []input
		if b.about.Observes {
			list = b.hostileFrames()
		}
		if b.about.Passive {
			return list
		}
		return append(list, input{what: "an empty scope", call: func(ctx context.Context, s Session) error {
			var e emitted
			err := s.Discover(ctx, theInstance, sdk.Scope{}, &e)
			if len(e.Sightings) > 0 {
				return fmt.Errorf("saw %d devices in an empty scope", len(e.Sightings))
			}
			return err
		}})
	case sdk.KindNotifier:
		notify := func(n sdk.Notice) func(context.Context, Session) error {
			return func(ctx context.Context, s Session) error {
				_, err := s.Notify(ctx, theInstance, n)
				return err
			}
		}
		huge := b.o.Notice
		huge.Title, huge.Text = strings.Repeat("long ", 20_000), strings.Repeat("\r\n.\r\nBcc: x@example.org\x00\x1b[2J", 5_000)
		return []input{
			{what: "a notice without an alert", accept: true, call: notify(sdk.Notice{ID: "empty", Event: "test"})},
			{what: "a notice of 250 KB with control characters", accept: true, call: notify(huge)},
		}
	}
	return nil
}

func (b *bench) hostileFrames() []input {
	inspect := func(frame []byte) func(context.Context, Session) error {
		return func(ctx context.Context, s Session) error {
			return s.Inspect(ctx, theInstance, "capture", frame, &emitted{})
		}
	}
	good := b.frames(records.BatchGuest)[0]
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 0x40
	list := []input{
		{what: "an empty frame", refuse: true, call: inspect(nil)},
		{what: "a frame of junk", refuse: true, call: inspect(bytes.Repeat([]byte("junk"), 1000))},
		{what: "a frame cut in half", refuse: true, call: inspect(good[:len(good)/2])},
		{what: "a frame with a byte changed", call: inspect(flipped)},
		{what: "the name of a capture with control characters", accept: true, call: func(ctx context.Context, s Session) error {
			return s.Inspect(ctx, theInstance, "a\x00b\x1b["+strings.Repeat("x", 4000), good, &emitted{})
		}},
	}
	if b.about.Subscription.Packets != nil {
		odd := []sdk.Packet{{}, {Number: math.MaxUint64, Length: math.MaxUint32, Link: math.MaxUint16, Data: bytes.Repeat([]byte{0xff}, 65535)}}
		return append(list, input{what: "packets with impossible values", accept: true, call: inspect(records.AppendPackets(nil, odd))})
	}
	odd := []sdk.Flow{{}, {
		ID: math.MaxUint64, Proto: 255, SrcPort: 65535, DstPort: 65535, EndReason: 255, FwdPackets: math.MaxUint64, RevPackets: math.MaxUint64,
		FwdBytes: math.MaxUint64, RevBytes: math.MaxUint64, IATMean: math.NaN(), IATMax: math.Inf(1), HandshakeRTT: math.Inf(-1),
		CommunityID: strings.Repeat("x", 200),
	}}
	return append(list, input{what: "flows with impossible values", accept: true, call: inspect(records.AppendFlows(nil, odd))})
}

// slowHost lets a sink take nothing: the plugin must wait, and end when its context does.
func slowHost(ctx context.Context, b *bench, r *result) {
	if b.about.Kind == sdk.KindNotifier {
		r.skipf("a notifier emits nothing")
		return
	}
	b.configured(ctx, r, func(s Session) {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		err := b.work(short, r, s, blocked{short})
		r.notef("returned %v", err)
		if len(r.fails) > 0 {
			return
		}
		call, cancelCall := b.call(ctx)
		defer cancelCall()
		if err := s.Stop(call, theInstance); err != nil {
			r.failf("it could not be stopped after a host that took nothing: %v", err)
		}
	})
}

// rounds is how often leaks runs a life after the first ones, which may fill caches.
const rounds = 4

// leaks runs lives in one process and counts what they leave behind.
func leaks(ctx context.Context, b *bench, r *result) {
	b.session(ctx, r, func(s Session) {
		if s.PID() == 0 {
			r.skipf("in this process, life and cancelled look for goroutines")
			return
		}
		for range 2 {
			b.oneLife(ctx, r, s)
		}
		before := openDescriptors(s.PID())
		if before < 0 {
			r.skipf("this system does not show the descriptors of a process")
			return
		}
		for range rounds {
			b.oneLife(ctx, r, s)
		}
		after := openDescriptors(s.PID())
		for end := time.Now().Add(min(b.o.Timeout, 5*time.Second)); after > before && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			after = openDescriptors(s.PID())
		}
		if after > before {
			r.failf("%d lives left %d descriptors open", rounds, after-before)
		}
		if n := children(s.PID()); n > 0 {
			r.failf("%d processes that it started are still there", n)
		}
		r.notef("%d descriptors", after)
	})
}

func (b *bench) oneLife(ctx context.Context, r *result, s Session) {
	call, cancel := b.call(ctx)
	defer cancel()
	if err := b.configure(call, s, theInstance); err != nil {
		r.failf("configure: %v", err)
		return
	}
	_ = b.work(call, r, s, &emitted{}) // life reports it
	if err := s.Stop(call, theInstance); err != nil {
		r.failf("Stop: %v", err)
	}
}

// permissions compares what the plugin did with what its manifest asks for.
func permissions(ctx context.Context, b *bench, r *result) {
	if b.o.Permissions == nil && b.o.Grants == nil {
		r.skipf("there is no manifest to compare with")
		return
	}
	b.declared(r)
	b.configured(ctx, r, func(s Session) {
		call, cancel := b.call(ctx)
		defer cancel()
		err := b.work(call, r, s, &emitted{})
		uses, seen := s.Use()
		for _, u := range uses {
			if u.Denied {
				r.failf("it asked for %s %s, which plugin.yaml does not: add the permission with a reason, or leave it", u.Cap, u.Detail)
			}
		}
		if err != nil && sdk.ClassOf(err) == sdk.PermissionDenied && len(r.fails) == 0 {
			r.failf("it was refused what it asked for: %v\nadd the permission to plugin.yaml with a reason, or leave it", err)
		}
		r.notef("%d uses of the outside world, seen by the host: %v", len(uses), seen)
	})
}

// declared checks the permissions that follow from what the plugin says about itself.
func (b *bench) declared(r *result) {
	if b.o.Permissions == nil {
		return
	}
	has := map[string]bool{}
	for _, p := range b.o.Permissions {
		has[p.Cap] = true
	}
	for capability, why := range map[string]bool{
		sdk.CapFlowsRead:   b.about.Subscription.Flows,
		sdk.CapPacketsRead: b.about.Subscription.Packets != nil,
		sdk.CapSecretRead:  len(b.schema().secrets("")) > 0,
	} {
		if why && !has[capability] {
			r.failf("it needs the permission %s, which plugin.yaml does not ask for", capability)
		}
	}
	permissions := b.o.Permissions
	if expanded, err := sdk.ExpandPermissions(permissions, b.o.Config); err == nil { // the operator may choose the kinds
		permissions = expanded
	}
	for _, kind := range b.about.Subscription.Facts {
		if !sdk.Grants(permissions).Facts(kind) {
			r.failf("it needs the permission %s of kind %s, which plugin.yaml does not ask for", sdk.CapFactsRead, kind)
		}
	}
}

// canary puts recognizable secrets into the configuration and looks for them wherever they must not appear.
func canary(ctx context.Context, b *bench, r *result) {
	names := b.schema().secrets("")
	if len(names) == 0 {
		r.skipf("its configuration has no secrets")
		return
	}
	marked := *b
	marked.o.Secrets = map[string]string{}
	var marks []string
	for i, name := range names {
		mark := fmt.Sprintf("kit-canary-%d-5f1e9c", i)
		marked.o.Secrets[name] = mark
		marks = append(marks, mark)
	}
	look := func(where string, text string) {
		for i, mark := range marks {
			if strings.Contains(text, mark) {
				r.failf("the secret %s stands in %s", names[i], where)
			}
		}
	}
	marked.session(ctx, r, func(s Session) {
		defer func() { look("the log", s.Log()) }()
		call, cancel := marked.call(ctx)
		defer cancel()
		cfg, err := marked.config(theInstance)
		if err != nil {
			r.failf("%v", err)
			return
		}
		cfg.Config = marked.with("no-such-key", 1)
		if err := s.Configure(call, cfg); err != nil {
			look("the error about a bad configuration", err.Error())
		}
		if err := marked.configure(call, s, theInstance); err != nil {
			look("the error about its configuration", err.Error())
			r.notef("it does not accept the secrets of this check, so only its errors and its log were read: %v", err)
			return
		}
		var e emitted
		if err := marked.work(call, r, s, &e); err != nil {
			look("an error", err.Error())
		}
		if data, err := json.Marshal(&e); err == nil {
			look("what it emitted", string(data))
		}
		if err := s.Health(call, theInstance); err != nil {
			look("what it says about its health", err.Error())
		}
		if state, err := s.Snapshot(call, theInstance); err == nil {
			look("its snapshot", string(state))
		}
	})
}
