package sdk

import (
	"fmt"
	"sort"
)

var registered = map[string]Plugin{}

// Register makes a plugin known to the program it is compiled into. Call it from init; it panics on a declaration
// that could never work, so that the mistake shows at the first run.
func Register(p Plugin) {
	if err := Check(p); err != nil {
		panic("sdk: register " + p.ID + ": " + err.Error())
	}
	if _, dup := registered[p.ID]; dup {
		panic("sdk: register " + p.ID + ": registered twice")
	}
	registered[p.ID] = p
}

// Registered returns all registered plugins, ordered by id.
func Registered() []Plugin {
	out := make([]Plugin, 0, len(registered))
	for _, p := range registered {
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// Check reports what is wrong with a declaration.
func Check(p Plugin) error {
	if !ValidID(p.ID) {
		return fmt.Errorf("id must be namespace/name in lower case letters, digits and dashes")
	}
	if p.New == nil {
		return fmt.Errorf("it has no New")
	}
	inst := p.New()
	ok := false
	switch p.Kind {
	case KindCollector:
		_, ok = inst.(Collector)
	case KindDiscovery:
		_, ok = inst.(Discoverer)
		if _, observes := inst.(Observer); observes {
			ok = ok || !p.Subscription.Empty() // an observer without records could learn nothing
		}
	case KindDetector:
		_, ok = inst.(Detector)
	case KindNotifier:
		_, ok = inst.(Notifier)
	default:
		return fmt.Errorf("unknown kind %q", p.Kind)
	}
	if !ok {
		return fmt.Errorf("%T does not implement the interface of kind %s", inst, p.Kind)
	}
	return nil
}

// ValidID reports whether id has the form namespace/name.
func ValidID(id string) bool {
	part, slashes := 0, 0
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', part > 0 && (c >= '0' && c <= '9' || c == '-'):
			part++
		case c == '/' && part > 0:
			slashes++
			part = 0
		default:
			return false
		}
	}
	return slashes == 1 && part > 0 && len(id) <= 128
}
