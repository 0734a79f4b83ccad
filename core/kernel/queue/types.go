package queue

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// Types of command.
const (
	Ping          = "ping"           // args {"text": "..."}
	CollectNow    = "collect-now"    // args {"instance": "..."}; without one, every collector
	RestartPlugin = "restart-plugin" // args {"instance": "..."}
	// RefreshRegistry: the registry has something new that cannot wait, a revocation above all.
	RefreshRegistry = "refresh-registry"
	Diagnose        = "diagnose"
	RestartAgent    = "restart-agent"
	UpdateAgent     = "update-agent" // args {"version": "..."}; without one, the newest
	Exec            = "exec"         // args {"path": "...", "args": [...], "timeout": seconds}

	cancel = "cancel" // args {"command": "..."}; agents alone see it
)

// How much harm a type of command can do.
const (
	Harmless   = "harmless"
	Disruptive = "disruptive" // a second person must approve it for more than ApproveAbove machines
	Dangerous  = "dangerous"  // a second person must approve it
)

// ApproveAbove is how many machines of a tenant may be disrupted within disruptionTime without a second person: an order for each
// of them is as much as one for all.
const (
	ApproveAbove   = 10
	disruptionTime = time.Hour
)

// Type is one kind of command.
type Type struct {
	Name    string
	Summary string
	Danger  string
	TTL     time.Duration // how long a command waits for its agent, unless somebody says otherwise
	Output  int           // bytes of output that are kept
	// Schema is the JSON Schema of its arguments, for forms; check is what decides.
	Schema json.RawMessage

	check func(args json.RawMessage) error
}

const usualOutput = 64 << 10

// Types are all there are.
var Types = []Type{
	{Ping, "Say something back", Harmless, defaultTTL, usualOutput, schema(`"text":{"type":"string","maxLength":200}`), checkPing},
	{CollectNow, "Collect at once, from all collectors or one", Harmless, defaultTTL, usualOutput, schema(instanceField), checkInstance(false)},
	{RestartPlugin, "Start an instance of a plugin again", Harmless, defaultTTL, usualOutput, schema(instanceField, "instance"), checkInstance(true)},
	{RefreshRegistry, "Ask the registry for news", Harmless, time.Hour, usualOutput, schema(""), checkInstance(false)},
	{Diagnose, "Look at everything that the agent needs", Harmless, defaultTTL, 256 << 10, schema(""), checkNothing},
	{RestartAgent, "Start the agent again", Disruptive, defaultTTL, usualOutput, schema(""), checkNothing},
	{UpdateAgent, "Bring the agent to a newer signed release; it goes back by itself if that does not work", Disruptive, 24 * time.Hour, usualOutput,
		schema(`"version":{"type":"string","maxLength":64}`), checkUpdate},
	{Exec, "Run a program that the machine's owner named in its policy.yaml, exactly so", Dangerous, defaultTTL, 1 << 20,
		schema(`"path":{"type":"string","maxLength":4096},"args":{"type":"array","maxItems":64,"items":{"type":"string","maxLength":4096}},"timeout":{"type":"integer","minimum":1,"maximum":600}`, "path"), checkExec},
}

const instanceField = `"instance":{"type":"string","maxLength":200}`

func schema(properties string, required ...string) json.RawMessage {
	needs, err := json.Marshal(append([]string{}, required...))
	if err != nil {
		panic(err)
	}
	return json.RawMessage(`{"type":"object","additionalProperties":false,"required":` + string(needs) + `,"properties":{` + properties + `}}`)
}

// TypeOf finds a type by its name.
func TypeOf(name string) (Type, error) {
	if i := slices.IndexFunc(Types, func(t Type) bool { return t.Name == name }); i >= 0 {
		return Types[i], nil
	}
	var known []string
	for _, t := range Types {
		known = append(known, t.Name)
	}
	return Type{}, &InputError{fmt.Sprintf("unknown command type %q; known are %s", name, strings.Join(known, ", "))}
}

// NeedsApproval reports whether a second person must approve a command of this type to that many machines.
func (t Type) NeedsApproval(machines int) bool {
	return t.Danger == Dangerous || t.Danger == Disruptive && machines > ApproveAbove
}

// arguments reads them into a struct; what it has no field for is refused.
func arguments(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if err := strictJSON(raw, into); err != nil {
		return &InputError{"args: " + err.Error()}
	}
	return nil
}

func checkNothing(raw json.RawMessage) error { return arguments(raw, &struct{}{}) }

func checkPing(raw json.RawMessage) error {
	var args struct {
		Text string `json:"text"`
	}
	if err := arguments(raw, &args); err != nil {
		return err
	}
	if len(args.Text) > 200 {
		return &InputError{"args.text: at most 200 bytes"}
	}
	return nil
}

func checkInstance(needed bool) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var args struct {
			Instance string `json:"instance"`
		}
		if err := arguments(raw, &args); err != nil {
			return err
		}
		if needed && args.Instance == "" {
			return &InputError{"args.instance: restart-plugin needs the instance to restart"}
		}
		return nil
	}
}

func checkUpdate(raw json.RawMessage) error {
	var args struct {
		Version string `json:"version"`
	}
	if err := arguments(raw, &args); err != nil {
		return err
	}
	if args.Version == "" {
		return nil
	}
	if _, err := semver.StrictNewVersion(args.Version); err != nil {
		return &InputError{fmt.Sprintf("args.version: %q is not a version such as 1.4.2; leave it out for the newest", args.Version)}
	}
	return nil
}

func checkExec(raw json.RawMessage) error {
	var args struct {
		Path    string   `json:"path"`
		Args    []string `json:"args"`
		Timeout int      `json:"timeout"`
	}
	if err := arguments(raw, &args); err != nil {
		return err
	}
	total := len(args.Path)
	for _, a := range args.Args {
		total += len(a)
		if strings.ContainsRune(a, 0) {
			return &InputError{"args.args: an argument holds a zero byte"}
		}
	}
	switch {
	case !path.IsAbs(args.Path) && !strings.Contains(args.Path, `:\`) || strings.ContainsRune(args.Path, 0):
		return &InputError{fmt.Sprintf("args.path: %q is not the absolute path of a program; there is no shell", args.Path)}
	case len(args.Args) > 64 || total > 32<<10:
		return &InputError{"args.args: at most 64 arguments, 32 KiB in all"}
	case args.Timeout < 0 || args.Timeout > 600:
		return &InputError{"args.timeout: at most 600 seconds"}
	}
	return nil
}
