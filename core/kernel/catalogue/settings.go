package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk/config"
)

// checkConfig compares a configuration with the plugin's schema and returns it, and the secrets, as they are stored.
// Secrets come apart from the rest, so that what is shown can never contain one; those that are left out keep the
// value they had. The plugin itself checks everything again when it starts.
func checkConfig(schema json.RawMessage, w Wish, old *store.Assignment, bad *InvalidError) (json.RawMessage, map[string]string) {
	cfg := w.Config
	if len(bytes.TrimSpace(cfg)) == 0 || string(bytes.TrimSpace(cfg)) == "null" {
		cfg = json.RawMessage("{}")
	}
	known := secretFields(schema)
	secrets := map[string]string{}
	if old != nil {
		for name, v := range old.Secrets {
			if slices.Contains(known, name) {
				secrets[name] = v
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Secrets)) {
		switch {
		case !slices.Contains(known, name):
			bad.add("body.secrets."+name, "the plugin has no secret field %q", name)
		case w.Secrets[name] == "":
			delete(secrets, name)
		default:
			secrets[name] = w.Secrets[name]
		}
	}
	var tree map[string]any
	if err := json.Unmarshal(cfg, &tree); err != nil {
		bad.add("body.config", "must be an object")
		return cfg, secrets
	}
	for _, name := range known {
		if present(tree, strings.Split(name, ".")) {
			bad.add("body.config."+name, "is a secret: send it in secrets")
		}
	}
	if len(bad.Fields) == 0 {
		validate(schema, cfg, secrets, bad)
	}
	return cfg, secrets
}

// validate holds the whole configuration, secrets included, against the schema.
func validate(schema, cfg json.RawMessage, secrets map[string]string, bad *InvalidError) {
	if len(bytes.TrimSpace(schema)) == 0 {
		if string(bytes.TrimSpace(cfg)) != "{}" {
			bad.add("body.config", "the plugin has nothing to configure")
		}
		return
	}
	whole, err := config.WithSecrets(cfg, secrets)
	if err != nil {
		bad.add("body.config", "%s", err)
		return
	}
	// Defaults first, as the plugin does: a required field that has a default is not missing.
	if whole, err = config.WithDefaults(schema, whole); err != nil {
		bad.add("body.config", "%s", err)
		return
	}
	compiled, err := compile(schema)
	if err != nil {
		bad.add("body.config", "the plugin's own description of its configuration is damaged: %s", err)
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(whole))
	if err != nil {
		bad.add("body.config", "%s", err)
		return
	}
	var wrong *jsonschema.ValidationError
	if err := compiled.Validate(value); errors.As(err, &wrong) {
		explain(wrong, bad)
	} else if err != nil {
		bad.add("body.config", "%s", err)
	}
}

// compile never fetches anything: a schema that refers to another document is an error.
func compile(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	const name = "plugin:config"
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	return c.Compile(name)
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("refers to %s: %w", url, io.ErrUnexpectedEOF)
}

// explain turns the leaves of a validation error into one line per field. It never repeats a value.
func explain(e *jsonschema.ValidationError, bad *InvalidError) {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			explain(cause, bad)
		}
		return
	}
	where := strings.Join(append([]string{"body", "config"}, e.InstanceLocation...), ".")
	field := strings.Join(e.InstanceLocation, ".")
	text := e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	if field != "" {
		text = field + ": " + text
	}
	bad.add(where, "%s", text)
}

// secretFields returns the paths of the fields that a schema marks as secret.
func secretFields(schema json.RawMessage) []string {
	var root schemaNode
	if len(bytes.TrimSpace(schema)) == 0 || json.Unmarshal(schema, &root) != nil {
		return nil
	}
	out := root.secrets("")
	slices.Sort(out)
	return out
}

type schemaNode struct {
	Secret     bool                  `json:"x-secret"`
	WriteOnly  bool                  `json:"writeOnly"`
	Properties map[string]schemaNode `json:"properties"`
}

func (n schemaNode) secrets(path string) []string {
	var out []string
	for name, p := range n.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		if p.Secret || p.WriteOnly {
			out = append(out, at)
		}
		out = append(out, p.secrets(at)...)
	}
	return out
}

func present(tree map[string]any, path []string) bool {
	v, ok := tree[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	below, ok := v.(map[string]any)
	return ok && present(below, path[1:])
}
