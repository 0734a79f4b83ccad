package pluginhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// The runtimes that an artifact can be for.
const (
	RuntimeProcess = "process"
	RuntimeWASM    = "wasm"
)

// Assignment asks the host to run one configured instance of a plugin.
type Assignment struct {
	Instance string `json:"instance"` // unique on the node
	Plugin   string `json:"plugin"`
	Version  string `json:"version"` // "" accepts whatever is installed
	Runtime  string `json:"runtime"`
	// Config is checked by the plugin itself.
	Config json.RawMessage `json:"config,omitempty"`
	// Secrets are handed to the instance and appear nowhere else.
	Secrets map[string]string `json:"secrets,omitempty"`
	// Grants are what the operator allowed; their arguments may refer to the configuration.
	Grants []sdk.Permission `json:"grants,omitempty"`
	// Interval is how often a collector or a discovery works; the schedulers read it.
	Interval time.Duration `json:"interval_ns,omitempty"`
	// Limits are what the operator allows, instead of what the plugin's manifest states.
	Limits registry.Limits `json:"limits,omitzero"`
	// Override says who lets this version run on though it is revoked, and why; "" when nobody does. The node's owner
	// decides whether anybody may.
	Override string `json:"override,omitempty"`
	// From is the registry that the server has it from, as a line for the node's policy.yaml: words for an operator, which
	// the node never goes by. "" when it is the one that the server offers itself.
	From string `json:"from,omitempty"`
	// Debug runs the instance without confinement and with deadlines that a person at a debugger can meet. Only a server
	// that was started for development asks for it.
	Debug bool `json:"-"`
	// Interpreter is what runs a plugin that needs one where the node's policy names none. Only a server that was started
	// for development passes it on, from an author who owns its machine.
	Interpreter string `json:"-"`
}

func (a Assignment) check() error {
	switch {
	case !validInstance(a.Instance):
		return fmt.Errorf("instance %q: want 1 to 128 letters, digits or any of ._@:/-", a.Instance)
	case !sdk.ValidID(a.Plugin):
		return fmt.Errorf("instance %s: plugin %q is not of the form namespace/name", a.Instance, a.Plugin)
	case a.Runtime != RuntimeProcess && a.Runtime != RuntimeWASM:
		return fmt.Errorf("instance %s: runtime %q is neither %s nor %s", a.Instance, a.Runtime, RuntimeProcess, RuntimeWASM)
	case a.Interval < 0:
		return fmt.Errorf("instance %s: negative interval", a.Instance)
	case len(a.Config) > 0 && !json.Valid(a.Config):
		return fmt.Errorf("instance %s: the configuration is not JSON", a.Instance)
	}
	if err := a.Limits.Check(); err != nil {
		return fmt.Errorf("instance %s: %w", a.Instance, err)
	}
	return nil
}

func checkAll(assignments []Assignment) error {
	var problems []error
	seen := map[string]bool{}
	for _, a := range assignments {
		if err := a.check(); err != nil {
			problems = append(problems, err)
		}
		if seen[a.Instance] {
			problems = append(problems, fmt.Errorf("instance %s is assigned twice", a.Instance))
		}
		seen[a.Instance] = true
	}
	return errors.Join(problems...)
}

func validInstance(s string) bool {
	if s == "" || len(s) > 128 || s == "." || s == ".." {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alnum && !strings.ContainsRune("._@:/-", r)
	}) < 0
}

// same reports whether b needs no new start. The interval is the schedulers' business alone.
func (a Assignment) same(b Assignment) bool {
	return a.Instance == b.Instance && a.Plugin == b.Plugin && a.Version == b.Version && a.Runtime == b.Runtime && a.Limits == b.Limits && a.Debug == b.Debug && a.Interpreter == b.Interpreter &&
		bytes.Equal(a.Config, b.Config) && maps.Equal(a.Secrets, b.Secrets) &&
		slices.EqualFunc(a.Grants, b.Grants, equalJSON[sdk.Permission])
}

func equalJSON[T any](a, b T) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// LogValue keeps configuration and secrets out of the log.
func (a Assignment) LogValue() slog.Value {
	return slog.GroupValue(slog.String("instance", a.Instance), slog.String("plugin", a.Plugin),
		slog.String("version", a.Version), slog.String("runtime", a.Runtime))
}
