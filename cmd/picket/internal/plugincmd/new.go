package plugincmd

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/sdk"
)

//go:embed template
var templates embed.FS

// scaffold is what the templates know.
type scaffold struct {
	ID, Namespace, Name string // "acme/door-sensor", "acme", "door-sensor"
	Package             string // "doorsensor"
	Kind                sdk.Kind
	Module              string
	SDKPath             string // a local copy of the sdk, when it is not fetched
}

func newCmd() *cobra.Command {
	var s scaffold
	var kind string
	cmd := &cobra.Command{
		Use:   "new --kind KIND NAMESPACE/NAME [DIR]",
		Short: "Make the skeleton of a plugin: code, manifest, README, test",
		Long: `Make the skeleton of a plugin: code, manifest, README, test.

The skeleton is a Go module of its own that needs only the SDK. It builds and passes its test as it is.`,
		Example: "  picket plugin new --kind detector acme/dns-tunnel",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.name(args[0], sdk.Kind(kind)); err != nil {
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
			p.Line(columns.S(columns.Dim, "next: cd "+dir+" && go mod tidy && go test ./... && picket plugin build ."))
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "collector, discovery, detector or notifier")
	cmd.Flags().StringVar(&s.Module, "module", "", "the Go module path (default: example.com/NAMESPACE/NAME)")
	cmd.Flags().StringVar(&s.SDKPath, "sdk", "", "a folder with the SDK, to use instead of fetching it")
	require(cmd, "kind")
	return cmd
}

func (s *scaffold) name(id string, kind sdk.Kind) error {
	kinds := []sdk.Kind{sdk.KindCollector, sdk.KindDiscovery, sdk.KindDetector, sdk.KindNotifier}
	if !slices.Contains(kinds, kind) {
		return fmt.Errorf("--kind %q: want collector, discovery, detector or notifier", kind)
	}
	if !sdk.ValidID(id) {
		return fmt.Errorf("%q: a plugin is called NAMESPACE/NAME, in lower-case letters, digits and dashes", id)
	}
	s.ID, s.Kind = id, kind
	s.Namespace, s.Name, _ = strings.Cut(id, "/")
	s.Package = strings.ReplaceAll(s.Name, "-", "")
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

// write fills the templates into a folder that must not hold anything yet.
func (s *scaffold) write(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	files := map[string]string{
		"go.mod": "go.mod.tmpl", "plugin.yaml": "plugin.yaml.tmpl", "README.md": "README.md.tmpl", "cmd/main.go": "main.go.tmpl",
		s.Package + ".go": string(s.Kind) + ".go.tmpl", s.Package + "_test.go": "test.go.tmpl",
	}
	for name, source := range files {
		data, err := s.fill(source)
		if err == nil && strings.HasSuffix(name, ".go") {
			data, err = format.Source(data)
		}
		if err != nil {
			return fmt.Errorf("fill %s: %w", name, err)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			return err
		}
	}
	return nil
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
