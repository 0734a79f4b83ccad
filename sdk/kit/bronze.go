package kit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/internal/check"
)

// declaration checks what the plugin says about itself.
func declaration(_ context.Context, b *bench, r *result) {
	d := b.about
	if !sentence(d.Summary) {
		r.failf("Summary %q: want one sentence that ends in a full stop", d.Summary)
	}
	if !json.Valid(d.ConfigSchema) {
		r.failf("the schema of its configuration is not JSON")
	}
	subscribed := !d.Subscription.Empty()
	switch {
	case d.Kind == sdk.KindDetector:
		if len(d.Rules) == 0 || !subscribed {
			r.failf("a detector needs rules and a subscription")
		}
		declaredRules(r, d.Rules)
	case d.Observes:
		if len(d.Rules) > 0 || !subscribed {
			r.failf("an observer needs a subscription, and has no rules")
		}
	case len(d.Rules) > 0 || subscribed:
		r.failf("a %s has neither rules nor a subscription", d.Kind)
	}
	if d.Subscription.Features && !d.Subscription.Flows {
		r.failf("it subscribes to features of flows, and not to flows")
	}
	if in, ok := b.subject.(inProcess); ok {
		declaredType(r, in.plugin)
	}
}

// declaredType checks what only the code itself shows.
func declaredType(r *result, p sdk.Plugin) {
	if err := sdk.Check(p); err != nil {
		r.failf("%v", err)
		return
	}
	one, two := p.New(), p.New()
	if v := reflect.ValueOf(one); v.Kind() == reflect.Pointer && v.Type().Elem().Size() > 0 && v.Pointer() == reflect.ValueOf(two).Pointer() {
		r.failf("New returned the same instance twice")
	}
	if c := one.Config(); c != nil && reflect.ValueOf(c).Pointer() != reflect.ValueOf(one.Config()).Pointer() {
		r.failf("Config returned two different structs for one instance: what is decoded into it gets lost")
	}
}

func declaredRules(r *result, rules []sdk.Rule) {
	seen := map[string]bool{}
	for _, rule := range rules {
		if rule.ID == "" || seen[rule.ID] {
			r.failf("rule %q needs an id of its own", rule.ID)
		}
		seen[rule.ID] = true
		if !sentence(rule.Purpose) {
			r.failf("rule %s: Purpose %q: want one sentence that ends in a full stop", rule.ID, rule.Purpose)
		}
		if rule.Severity.Rank() == 0 {
			r.failf("rule %s: severity %q", rule.ID, rule.Severity)
		}
		for _, id := range rule.Techniques {
			if !check.Technique(id) {
				r.failf("rule %s: %q is not a technique such as T1046", rule.ID, id)
			}
		}
	}
}

func sentence(s string) bool { return len(s) > 1 && strings.HasSuffix(s, ".") }

// configuration checks that what is wrong is refused, with the class that the operator's form needs.
func configuration(ctx context.Context, b *bench, r *result) {
	if in, ok := b.subject.(inProcess); ok {
		defaults(r, in.plugin, string(b.o.Config))
	}
	b.session(ctx, r, func(s Session) {
		for _, bad := range b.badConfigs() {
			cfg, err := b.config(theInstance)
			if err != nil {
				r.failf("%v", err)
				return
			}
			cfg.Config = bad.config
			call, cancel := b.call(ctx)
			err = s.Configure(call, cfg)
			cancel()
			if err == nil || sdk.ClassOf(err) != sdk.InvalidConfig {
				r.failf("%s gave %v, want an error of class %s", bad.what, err, sdk.InvalidConfig)
			}
			if err == nil {
				_ = s.Stop(ctx, theInstance)
			}
		}
	})
}

// defaults checks the values that a configuration gets by itself.
func defaults(r *result, p sdk.Plugin, given string) {
	inst := p.New()
	if err := config.Decode([]byte("{"), inst.Config()); sdk.ClassOf(err) != sdk.InvalidConfig {
		r.failf("broken JSON gave %v", err)
		return
	}
	if err := config.Decode(nil, inst.Config()); err != nil {
		if strings.Contains(err.Error(), "default:") {
			r.failf("%v", err)
		}
		r.notef("the defaults alone are not a configuration (required fields): %v", err)
		return
	}
	if v, ok := inst.(sdk.Validator); ok && given == "{}" {
		if err := v.Validate(); err != nil {
			r.failf("the defaults are refused: %v", err)
		}
	}
}

type badConfig struct {
	what   string
	config []byte
}

// badConfigs are configurations that must be refused: the good one with one thing wrong.
func (b *bench) badConfigs() []badConfig {
	out := []badConfig{
		{"an unknown key", b.with("no-such-key", 1)},
		{"broken JSON", []byte("{")},
		{"a list instead of an object", []byte("[]")},
		{"JSON nested without end", []byte(strings.Repeat(`{"a":`, 20_000))},
	}
	for _, name := range slices.Sorted(maps.Keys(b.schema().Properties)) {
		if b.o.Secrets[name] != "" {
			continue // the secret takes its place
		}
		wrong := any(map[string]any{"of": []any{"another", "type"}})
		if b.schema().Properties[name].Type == "object" {
			wrong = "text"
		}
		out = append(out, badConfig{fmt.Sprintf("a value of another type for %q", name), b.with(name, wrong)})
	}
	return out
}

// with is the good configuration with one key set.
func (b *bench) with(key string, value any) []byte {
	tree := map[string]any{}
	_ = json.Unmarshal(b.o.Config, &tree) // an object, or every check fails
	tree[key] = value
	data, err := json.Marshal(tree)
	if err != nil {
		return []byte(err.Error()) // not JSON either
	}
	return data
}

// life runs the whole life of an instance twice in one process.
func life(ctx context.Context, b *bench, r *result) {
	before := goroutines()
	b.session(ctx, r, func(s Session) {
		for round := range 2 {
			if err := b.configure(ctx, s, theInstance); err != nil {
				r.failf("configure with %s, round %d: %v", b.o.Config, round+1, err)
				return
			}
			call, cancel := b.call(ctx)
			r.expected("Health", s.Health(call, theInstance))
			var e emitted
			r.expected("work", b.work(call, r, s, &e))
			r.notef("%s", &e)
			for range 2 { // the host may ask twice
				if err := s.Stop(call, theInstance); err != nil {
					r.failf("Stop: %v", err)
				}
			}
			cancel()
		}
	})
	b.noneLeft(r, before)
}

// noneLeft looks for goroutines that run on in this process.
func (b *bench) noneLeft(r *result, before map[string]string) {
	if _, ok := b.subject.(inProcess); !ok {
		return
	}
	if stacks := left(before, b.o.Timeout); len(stacks) > 0 {
		r.failf("%d goroutines run on after Stop:\n\n%s", len(stacks), strings.Join(stacks, "\n\n"))
	}
}

// stopWithoutStart checks that Stop is safe at any time.
func stopWithoutStart(ctx context.Context, b *bench, r *result) {
	call, cancel := b.call(ctx)
	defer cancel()
	if in, ok := b.subject.(inProcess); ok {
		stopFresh(call, r, in, b.o)
	}
	b.session(ctx, r, func(s Session) {
		if err := s.Stop(call, theInstance); err != nil {
			r.failf("Stop of an instance that never was: %v", err)
		}
		cfg, err := b.config(theInstance)
		if err != nil {
			r.failf("%v", err)
			return
		}
		cfg.Config = []byte("{")
		if s.Configure(call, cfg) == nil {
			return // configuration reports it
		}
		if err := s.Stop(call, theInstance); err != nil {
			r.failf("Stop after a failed start: %v", err)
		}
	})
}

// stopFresh calls the methods of an instance themselves.
func stopFresh(ctx context.Context, r *result, in inProcess, o Options) {
	stopper, ok := in.plugin.New().(sdk.Stopper)
	if !ok {
		return
	}
	if err := stopper.Stop(ctx); err != nil {
		r.failf("Stop of a fresh instance: %v", err)
	}
	inst := in.plugin.New()
	if config.Decode(o.Config, inst.Config()) != nil {
		return // needs secrets
	}
	host, end, err := in.newHost(abi.InstanceConfig{Instance: theInstance, Plugin: in.plugin.ID, Secrets: o.Secrets, Grants: o.Grants})
	if err != nil {
		r.failf("%v", err)
		return
	}
	defer end()
	if starter, ok := inst.(sdk.Starter); ok {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		r.notef("Start with a cancelled context: %v", starter.Start(gone, host))
	}
	if err := inst.(sdk.Stopper).Stop(ctx); err != nil {
		r.failf("Stop after a failed Start: %v", err)
	}
}

// cancelled checks that work ends with its context, and the instance can be stopped then.
func cancelled(ctx context.Context, b *bench, r *result) {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	b.interrupted(ctx, gone, r)
}

// deadline checks the same for a time that runs out during the work.
func deadline(ctx context.Context, b *bench, r *result) {
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	b.interrupted(ctx, short, r)
}

// interrupted lets an instance work under a context that ends early.
func (b *bench) interrupted(ctx, early context.Context, r *result) {
	before := goroutines()
	b.configured(ctx, r, func(s Session) {
		err := b.work(early, r, s, &emitted{})
		r.notef("returned %v", err)
		if len(r.fails) > 0 {
			return
		}
		call, cancel := b.call(ctx)
		defer cancel()
		if err := s.Stop(call, theInstance); err != nil {
			r.failf("still at work: it could not be stopped after its context had ended: %v", err)
		}
	})
	if len(r.fails) == 0 {
		b.noneLeft(r, before)
	}
}
