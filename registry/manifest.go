package registry

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// APIVersion is the version of the manifest format.
const APIVersion = "picket/v1"

// MaxManifest bounds plugin.yaml.
const MaxManifest = 64 << 10

// The runtimes of a plugin.
const (
	RuntimeProcess = "process"
	RuntimeWASM    = "wasm"
	RuntimeFile    = "file" // of what no host runs: models, data packs, Picket's own agent
)

// Manifest is what plugin.yaml says: what the plugin is and what it asks for.
type Manifest struct {
	APIVersion  string           `json:"apiVersion"`
	ID          string           `json:"id"`
	Version     string           `json:"version"`
	Kind        sdk.Kind         `json:"kind"`
	Title       string           `json:"title"`
	Summary     string           `json:"summary"`
	License     string           `json:"license"` // SPDX
	Homepage    string           `json:"homepage,omitempty"`
	Protocol    []int            `json:"protocol,omitempty"` // majors of the contract
	Runtimes    []string         `json:"runtimes"`
	Permissions []sdk.Permission `json:"permissions,omitempty"`
	// Interpreter runs a plugin in a script language: its process artifact is then one archive that this program of the
	// node executes, named in the node's policy.yaml. Empty for programs.
	Interpreter string `json:"interpreter,omitempty"`
	// Pack is the folder of the main that the process artifact is built from, relative to plugin.yaml's, when that serves
	// several plugins: all of them have the same artifact then, and a node may run them in one process.
	Pack       string   `json:"pack,omitempty"`
	Limits     Limits   `json:"limits,omitzero"`
	Techniques []string `json:"techniques,omitempty"` // detectors: ATT&CK ids
	Metrics    []string `json:"metrics,omitempty"`    // collectors: what they emit
	Tags       []string `json:"tags,omitempty"`
	// Page names a self-contained HTML file beside plugin.yaml, which is shown in a sandboxed frame on the plugin's page.
	Page string `json:"page,omitempty"`
	// File names the file beside plugin.yaml that a model or a data pack consists of.
	File        string           `json:"file,omitempty"`
	Model       *Model           `json:"model,omitempty"`
	Data        *Data            `json:"data,omitempty"`
	Requires    []Requirement    `json:"requires,omitempty"`
	Screenshots []ScreenshotFile `json:"screenshots,omitempty"`
	Source      *Source          `json:"source,omitempty"`
}

// InterpreterPython runs a zip archive of Python modules (.pyz).
const InterpreterPython = "python3"

// Interpreters are the known values of Manifest.Interpreter.
var Interpreters = []string{InterpreterPython}

// Limits are the resources that a plugin says it stays within. Zero or empty means the host's default.
type Limits struct {
	Memory            string  `json:"memory,omitempty"`               // for example "64Mi"
	CPU               float64 `json:"cpu,omitempty"`                  // cores, for example 0.5
	Deadline          string  `json:"deadline,omitempty"`             // of one call, for example "30s"
	RecordsPerSecond  int     `json:"records_per_second,omitempty"`   // that it emits
	OpenFiles         int     `json:"open_files,omitempty"`           // descriptors
	LogLinesPerSecond int     `json:"log_lines_per_second,omitempty"` // that it writes
}

// ParseManifest reads plugin.yaml and reports everything that is wrong with it at once.
func ParseManifest(data []byte) (*Manifest, error) {
	tree, err := strict.YAML(data, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("read plugin.yaml: %w", err)
	}
	if err := NormalizePermissions(tree["permissions"]); err != nil {
		return nil, fmt.Errorf("read plugin.yaml: %w", err)
	}
	var m Manifest
	if err := strict.Decode(tree, &m); err != nil {
		return nil, fmt.Errorf("read plugin.yaml: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("read plugin.yaml: %w", err)
	}
	return &m, nil
}

// NormalizePermissions works on the parsed list of permissions of a YAML file. It lets authors write `port: 161` for `port: ["161"]`.
func NormalizePermissions(list any) error {
	perms, _ := list.([]any) // a wrong type is reported by the decoder
	for i, p := range perms {
		perm, _ := p.(map[string]any)
		args, _ := perm["args"].(map[string]any)
		for name, value := range args {
			values, ok := value.([]any)
			if !ok {
				values = []any{value}
			}
			for j, v := range values {
				s, err := scalarText(v)
				if err != nil {
					return fmt.Errorf("permissions[%d].args.%s: %w", i, name, err)
				}
				values[j] = s
			}
			args[name] = values
		}
	}
	return nil
}

func scalarText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	default:
		return "", fmt.Errorf("expected text or a whole number, or a list of them, found %T", v)
	}
}

// Namespace returns the part of the id before the slash.
func (m *Manifest) Namespace() string {
	ns, _, _ := strings.Cut(m.ID, "/")
	return ns
}

// MemoryBytes returns the memory limit in bytes, 0 when none is stated.
func (l Limits) MemoryBytes() (int64, error) {
	if l.Memory == "" {
		return 0, nil
	}
	return parseQuantity(l.Memory)
}

// DeadlineDuration returns the deadline of one call, 0 when none is stated.
func (l Limits) DeadlineDuration() (time.Duration, error) {
	if l.Deadline == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(l.Deadline)
	if err != nil || d < 10*time.Millisecond || d > time.Hour {
		return 0, fmt.Errorf("%q is not a time between 10ms and 1h, such as 30s", l.Deadline)
	}
	return d, nil
}

// Check reports every limit that makes no sense.
func (l Limits) Check() error {
	var p problems
	l.check(&p)
	return p.join()
}

func (l Limits) check(p *problems) {
	_, err := l.MemoryBytes()
	p.err("limits.memory", err)
	_, err = l.DeadlineDuration()
	p.err("limits.deadline", err)
	p.add(l.CPU == 0 || l.CPU >= 0.01 && l.CPU <= 1024, "limits.cpu: %v is not a number of cores between 0.01 and 1024", l.CPU)
	for _, n := range []struct {
		name       string
		value      int
		least, max int
	}{
		{"records_per_second", l.RecordsPerSecond, 1, 100_000_000},
		{"open_files", l.OpenFiles, 32, 1 << 20}, // with less than 32 a runtime does not start
		{"log_lines_per_second", l.LogLinesPerSecond, 1, 100_000},
	} {
		p.add(n.value == 0 || n.value >= n.least && n.value <= n.max, "limits.%s: %d is not between %d and %d", n.name, n.value, n.least, n.max)
	}
}

func parseQuantity(s string) (int64, error) {
	digits, shift := s, 0
	for suffix, n := range map[string]int{"Ki": 10, "Mi": 20, "Gi": 30} {
		if d, ok := strings.CutSuffix(s, suffix); ok {
			digits, shift = d, n
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a size such as 64Mi", s)
	}
	return n << shift, nil
}

// check reports every problem, so that an author does not meet them one by one.
func (m *Manifest) check() error {
	var p problems
	p.add(m.APIVersion == APIVersion, "apiVersion: must be %q", APIVersion)
	p.add(sdk.ValidID(m.ID), "id: must be namespace/name in lower-case letters, digits and dashes")
	p.err("version", checkVersion(m.Version))
	p.add(validKind(m.Kind), "kind: must be collector, discovery, detector, notifier, model or data")
	p.err("title", checkText(m.Title, 80, true))
	p.err("summary", checkText(m.Summary, 200, true))
	p.err("license", checkText(m.License, 100, true))
	p.err("homepage", checkHomepage(m.Homepage))
	m.checkKind(&p)
	for _, v := range m.Protocol {
		p.add(v >= 1 && v <= 1000, "protocol: %d is not a major version", v)
	}
	m.checkRuntimes(&p)
	m.checkPermissions(&p)
	m.Limits.check(&p)
	m.checkLists(&p)
	m.checkExtras(&p)
	return p.join()
}

func (m *Manifest) checkRuntimes(p *problems) {
	p.add(len(m.Runtimes) > 0, "runtimes: name process, wasm or both")
	for i, r := range m.Runtimes {
		p.add(r == RuntimeProcess || r == RuntimeWASM || r == RuntimeFile, "runtimes: unknown runtime %q", r)
		p.add(!slices.Contains(m.Runtimes[:i], r), "runtimes: %q appears twice", r)
	}
	if m.Interpreter != "" {
		p.add(slices.Contains(Interpreters, m.Interpreter), "interpreter: %q is not one of: %s", m.Interpreter, strings.Join(Interpreters, ", "))
		p.add(slices.Contains(m.Runtimes, RuntimeProcess), "interpreter: only for the runtime process")
	}
	if m.Pack != "" {
		p.add(validPack(m.Pack), "pack: %q is not the path of a folder beside this one, such as ../packs/NAME", m.Pack)
		p.add(slices.Contains(m.Runtimes, RuntimeProcess) && m.Interpreter == "", "pack: only for programs of the runtime process")
	}
}

func validPack(dir string) bool {
	return len(dir) <= 200 && path.Clean(dir) == dir && strings.HasPrefix(dir, "../") && path.Base(dir) != ".." &&
		!strings.Contains(dir, "\\") && strict.CheckPrintable(dir, false) == nil
}

func (m *Manifest) checkPermissions(p *problems) {
	p.add(len(m.Permissions) <= 32, "permissions: at most 32")
	for i, perm := range m.Permissions {
		where := fmt.Sprintf("permissions[%d]", i)
		p.err(where, perm.Validate())
		p.err(where+".reason", checkText(perm.Reason, 300, true))
		p.add(len(perm.Args) <= 16, "%s.args: at most 16", where)
		for name, values := range perm.Args {
			p.err(where+".args", checkText(name, 40, true))
			p.add(len(values) > 0 && len(values) <= 256, "%s.args.%s: name between 1 and 256 values", where, name)
			for _, v := range values {
				p.err(where+".args."+name, checkText(v, 300, true))
			}
		}
	}
}

func (m *Manifest) checkLists(p *problems) {
	for _, t := range m.Techniques {
		p.add(validTechnique(t), "techniques: %q is not an ATT&CK id such as T1046 or T1071.001", t)
	}
	p.add(m.Page == "" || validPageName(m.Page), "page: %q is not the name of an .html file beside plugin.yaml", m.Page)
	p.add(len(m.Techniques) == 0 || m.Kind == sdk.KindDetector, "techniques: only for detectors")
	p.add(len(m.Metrics) == 0 || m.Kind == sdk.KindCollector, "metrics: only for collectors")
	for name, list := range map[string][]string{"techniques": m.Techniques, "metrics": m.Metrics, "tags": m.Tags} {
		p.add(len(list) <= 256, "%s: at most 256", name)
		for _, v := range list {
			p.err(name, checkText(v, 100, true))
		}
	}
}

func validKind(k sdk.Kind) bool {
	return slices.Contains([]sdk.Kind{sdk.KindCollector, sdk.KindDiscovery, sdk.KindDetector, sdk.KindNotifier, sdk.KindModel, sdk.KindData, KindAgent}, k)
}

func validTechnique(s string) bool {
	base, sub, hasSub := strings.Cut(s, ".")
	digits := func(s string, n int) bool {
		return len(s) == n && strings.Trim(s, "0123456789") == ""
	}
	return len(base) == 5 && base[0] == 'T' && digits(base[1:], 4) && (!hasSub || digits(sub, 3))
}

// checkVersion refuses build metadata too: two versions that differ only there would compare as equal.
func checkVersion(v string) error {
	parsed, err := semver.StrictNewVersion(v)
	if err != nil || parsed.Metadata() != "" || len(v) > 64 {
		return fmt.Errorf("%q is not a semantic version such as 1.4.2 or 1.5.0-rc.1", v)
	}
	return nil
}

func checkText(s string, maxBytes int, required bool) error {
	if required && strings.TrimSpace(s) == "" {
		return errors.New("is missing")
	}
	if len(s) > maxBytes {
		return fmt.Errorf("is longer than %d bytes", maxBytes)
	}
	return strict.CheckPrintable(s, false)
}

func checkHomepage(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return fmt.Errorf("%q is not a web address", s)
	}
	return checkText(s, 300, true)
}

// problems collects what is wrong, in the order of the file.
type problems struct{ list []string }

func (p *problems) add(ok bool, format string, args ...any) {
	if !ok {
		p.list = append(p.list, fmt.Sprintf(format, args...))
	}
}

func (p *problems) err(where string, err error) {
	if err != nil {
		p.list = append(p.list, where+": "+err.Error())
	}
}

func (p *problems) join() error {
	switch len(p.list) {
	case 0:
		return nil
	case 1:
		return errors.New(p.list[0])
	default:
		return fmt.Errorf("%d problems: %s", len(p.list), strings.Join(p.list, "; "))
	}
}

func validPageName(name string) bool {
	return strings.HasSuffix(name, ".html") && len(name) <= 64 && !strings.ContainsAny(name, "/\\") && !strings.HasPrefix(name, ".")
}
