package plugincmd

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/sdkbundle"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

//go:embed template
var templates embed.FS

// scaffold is what the templates know.
type scaffold struct {
	ID, Namespace, Name string // "acme/door-sensor", "acme", "door-sensor"
	Package             string // "doorsensor"; in Python and Rust "door_sensor"
	Title               string // "DoorSensor", a type's name
	Metric              string // "acme.door_sensor"
	Kind                sdk.Kind
	Lang                string
	Runtimes            []string
	RuntimeList         string
	One                 string // why there is only one runtime
	Module              string // Go
	GoVersion           string
	Indirect            []string // what the SDK needs, as go.mod says it
	Today               string   // 2026-11-22
	SDKPath             string   // a local copy of the sdk, when it is not the one that picket carries
	goSum               []byte
}

func newCmd() *cobra.Command {
	var s scaffold
	var kind string
	cmd := &cobra.Command{
		Use:   "new --kind KIND [--lang LANG] NAMESPACE/NAME [DIR]",
		Short: "Make the skeleton of a plugin: code, manifest, README, test",
		Long: `Make the skeleton of a plugin: code, manifest, README, test.

It works in any folder: picket carries the SDK of its own version and unpacks it into your cache. The skeleton needs
nothing else, builds and passes its test as it is. Models and data packs are files that plugins read: their skeleton is a
manifest beside which the file goes.`,
		Example: "  picket plugin new --kind detector acme/dns-tunnel\n" +
			"  picket plugin new --kind model acme/dns-names\n" +
			"  picket plugin new --kind collector --lang python acme/ups\n" +
			"  picket plugin new --kind detector --lang rust acme/dns-tunnel",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Today = time.Now().UTC().Format(time.DateOnly)
			if err := s.name(args[0], sdk.Kind(kind)); err != nil {
				return err
			}
			if err := s.language(); err != nil {
				return err
			}
			dir := s.Name
			if len(args) == 2 {
				dir = args[1]
			}
			if err := s.write(dir); err != nil {
				return err
			}
			p := columns.New(cmd.OutOrStdout())
			p.Line(columns.S(columns.Good, "made "), columns.C(dir))
			p.Line(columns.S(columns.Dim, "next: "+s.then(dir)))
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "collector, discovery, detector, notifier, model or data")
	cmd.Flags().StringVar(&s.Lang, "lang", "go", "go, python or rust")
	cmd.Flags().StringSliceVar(&s.Runtimes, "runtime", nil, "process or wasm, or both for Go (default: what the language offers)")
	cmd.Flags().StringVar(&s.Module, "module", "", "the Go module path (default: example.com/NAMESPACE/NAME)")
	cmd.Flags().StringVar(&s.SDKPath, "sdk", "", "a folder with the Go SDK, to use instead of the one that picket carries")
	require(cmd, "kind")
	return cmd
}

func (s *scaffold) name(id string, kind sdk.Kind) error {
	kinds := []sdk.Kind{sdk.KindCollector, sdk.KindDiscovery, sdk.KindDetector, sdk.KindNotifier, sdk.KindModel, sdk.KindData}
	if !slices.Contains(kinds, kind) {
		return usage.Errorf("--kind %q: want collector, discovery, detector, notifier, model or data", kind)
	}
	if !sdk.ValidID(id) {
		return usage.Errorf("%q: a plugin is called NAMESPACE/NAME, in lower-case letters, digits and dashes", id)
	}
	s.ID, s.Kind = id, kind
	s.Namespace, s.Name, _ = strings.Cut(id, "/")
	s.Package = strings.ReplaceAll(s.Name, "-", "")
	s.Metric = strings.ReplaceAll(s.Namespace+"."+s.Name, "-", "_")
	for _, word := range strings.Split(s.Name, "-") {
		s.Title += strings.ToUpper(word[:min(1, len(word))]) + word[min(1, len(word)):]
	}
	if s.Package[0] >= '0' && s.Package[0] <= '9' {
		s.Package, s.Title = "p"+s.Package, "P"+s.Title // a name in a program begins with a letter
	}
	if s.Module == "" {
		s.Module = "example.com/" + id
	}
	if s.SDKPath != "" {
		abs, err := filepath.Abs(s.SDKPath)
		if err != nil {
			return err
		}
		s.SDKPath = abs
	}
	return nil
}

// offers is what each language can be built for. The first is the default.
var offers = map[string][]string{
	"go":     {registry.RuntimeProcess, registry.RuntimeWASM},
	"python": {registry.RuntimeProcess},
	"rust":   {registry.RuntimeWASM},
}

// language checks what was asked for and fills in what depends on it.
func (s *scaffold) language() error {
	if s.isFile() {
		s.Lang = "" // there is no code
		return nil
	}
	offered, ok := offers[s.Lang]
	if !ok {
		return usage.Errorf("--lang %q: want go, python or rust", s.Lang)
	}
	for _, r := range s.Runtimes {
		if !slices.Contains(offered, r) {
			return usage.Errorf("--runtime %s: a plugin in %s runs as %s", r, s.Lang, strings.Join(offered, " or "))
		}
	}
	if len(s.Runtimes) == 0 {
		s.Runtimes = offered
	}
	s.RuntimeList = strings.Join(s.Runtimes, ", ")
	switch {
	case len(s.Runtimes) > 1:
	case s.Lang == "python":
		s.One = "Python runs as a process."
	case s.Lang == "rust":
		s.One = "Rust plugins are guests."
	default:
		s.One = "Say here why it does not run as the other one too."
	}
	if s.Lang != "go" {
		s.Package = strings.ReplaceAll(s.Name, "-", "_")
		if s.Package[0] >= '0' && s.Package[0] <= '9' {
			s.Package = "p" + s.Package
		}
		return nil
	}
	return s.goSDK()
}

var requirement = regexp.MustCompile(`(?m)^\s+([a-z0-9.-]+\.[a-z]+/\S+ v\S+)`)

// goSDK fills in the SDK that picket carries, and everything that it needs, so that nothing has to be looked up.
func (s *scaffold) goSDK() error {
	b, err := sdkbundle.Open()
	if s.SDKPath != "" {
		s.GoVersion = "v0.0.0"
		mod, err := os.ReadFile(filepath.Join(s.SDKPath, "go.mod"))
		if err != nil {
			return fmt.Errorf("--sdk: %w", err)
		}
		s.takeRequirements(mod)
		s.goSum, err = os.ReadFile(filepath.Join(s.SDKPath, "go.sum"))
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (or say --sdk, with a folder that holds the SDK)", err)
	}
	mod, err := b.GoMod()
	if err != nil {
		return err
	}
	s.takeRequirements(mod)
	s.GoVersion, s.goSum = b.GoVersion, b.GoSum()
	return nil
}

func (s *scaffold) takeRequirements(mod []byte) {
	for _, m := range requirement.FindAllSubmatch(mod, -1) {
		s.Indirect = append(s.Indirect, string(m[1]))
	}
	slices.Sort(s.Indirect)
}

// isFile reports whether it is a model or a data pack.
func (s *scaffold) isFile() bool { return s.Kind == sdk.KindModel || s.Kind == sdk.KindData }

// then says how to go on.
func (s *scaffold) then(dir string) string {
	if s.isFile() {
		return "put the file beside " + filepath.Join(dir, "plugin.yaml") + ", say there what it is, then `picket plugin pack` or `picket plugin publish`"
	}
	return "cd " + dir + s.next() + " && picket plugin test ."
}

// next is what comes before the first test, if anything does.
func (s *scaffold) next() string {
	if s.Lang == "python" {
		return ` && python3 -m venv .venv && .venv/bin/pip install "$(picket sdk path --lang python)"`
	}
	return ""
}

// files are the names of what is written, and of the templates.
func (s *scaffold) files() map[string]string {
	if s.isFile() {
		files := map[string]string{"plugin.yaml": "file/" + string(s.Kind) + ".yaml.tmpl", "README.md": "file/README.md.tmpl", "CHANGELOG.md": "file/CHANGELOG.md.tmpl"}
		if s.Kind == sdk.KindData {
			files[s.Name+".tsv"] = "file/data.tsv.tmpl"
		}
		return files
	}
	files := map[string]string{"plugin.yaml": "plugin.yaml.tmpl", "README.md": "README.md.tmpl", "testdata/kit.json": "kit.json.tmpl", ".gitignore": s.Lang + "/gitignore.tmpl"}
	kind := string(s.Kind)
	switch s.Lang {
	case "go":
		files["go.mod"], files["cmd/main.go"] = "go/go.mod.tmpl", "go/main.go.tmpl"
		files[s.Package+".go"], files[s.Package+"_test.go"] = "go/"+kind+".go.tmpl", "go/test.go.tmpl"
	case "python":
		files["pyproject.toml"], files[s.Package+"/__init__.py"] = "python/pyproject.toml.tmpl", "python/"+kind+".py.tmpl"
	case "rust":
		files["Cargo.toml"], files["src/lib.rs"] = "rust/Cargo.toml.tmpl", "rust/"+kind+".rs.tmpl"
	}
	return files
}

// write fills the templates into a folder that must not hold anything yet.
func (s *scaffold) write(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	filled := map[string][]byte{}
	for name, source := range s.files() {
		data, err := s.fill(source)
		switch {
		case err != nil:
		case strings.HasSuffix(name, ".go"):
			data, err = format.Source(data)
		case strings.HasSuffix(name, ".json"):
			data, err = indented(data)
		}
		if err != nil {
			return fmt.Errorf("fill %s: %w", name, err)
		}
		filled[name] = data
	}
	if s.goSum != nil {
		filled["go.sum"] = s.goSum
	}
	for name, data := range filled {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			return err
		}
	}
	if s.Lang == "rust" {
		return placeRustSDK(dir)
	}
	return nil
}

func indented(data []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(data), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func (s *scaffold) fill(name string) ([]byte, error) {
	text, err := templates.ReadFile("template/" + name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, s)
	return out.Bytes(), err
}
