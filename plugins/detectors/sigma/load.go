package sigma

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

//go:embed default.yml
var defaultRules []byte

// Limits of rule files.
const (
	maxFile     = 64 << 20
	maxUnpacked = 256 << 20 // of a zip file
	maxDocument = 256 << 10
	maxRules    = 50_000
)

// refusal is a rule that was not loaded, and the word that nothing here understands.
type refusal struct {
	File, Title string
	Line        int
	Keyword     string
	Reason      string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s: %s", r.File, r.Line, r.Title, r.Keyword, r.Reason)
}

// loaded is what became of the rule files.
type loaded struct {
	rules     []*rule
	programs  []program
	tests     []test
	refused   []refusal
	elsewhere []refusal // rules for logs that no wire tells
	documents int       // that were read
	filtered  int       // of another status
	doubled   int       // ids that come again
}

// maxRefusals is how many refused rules are named one by one.
const maxRefusals = 100

func (l *loaded) report(log *slog.Logger) {
	log.Info("read the rules", "loaded", len(l.rules), "refused", len(l.refused), "of_other_logs", len(l.elsewhere), "of_other_status", l.filtered, "doubled", l.doubled)
	if len(l.elsewhere) > 0 {
		log.Info("rules for other logs were left out", "by_log", byKeyword(l.elsewhere))
	}
	if len(l.refused) == 0 {
		return
	}
	log.Warn("rules were refused", "by_keyword", byKeyword(l.refused))
	for _, r := range l.refused[:min(len(l.refused), maxRefusals)] {
		log.Warn("a rule was refused", "file", r.File, "line", r.Line, "title", r.Title, "keyword", r.Keyword, "reason", r.Reason)
	}
}

// loader reads rule files into rules.
type loader struct {
	out      loaded
	statuses []string
	compiler compiler
	byID     map[string]bool
}

func newLoader(statuses []string) *loader {
	return &loader{statuses: statuses, compiler: newCompiler(), byID: map[string]bool{}}
}

// add reads one file of rules, of which a line of three dashes ends each.
func (l *loader) add(name string, text []byte) error {
	line, begin := 1, 1
	var document []byte
	for part := range bytes.Lines(text) {
		line++
		if end := bytes.TrimRight(part, " \t\r\n"); bytes.Equal(end, []byte("---")) || bytes.Equal(end, []byte("...")) {
			if err := l.document(name, begin, document); err != nil {
				return err
			}
			document, begin = nil, line
			continue
		}
		document = append(document, part...)
	}
	return l.document(name, begin, document)
}

func (l *loader) document(name string, line int, text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	l.out.documents++
	r, err := readRule(text)
	switch {
	case err != nil:
	case !slices.Contains(l.statuses, r.status):
		l.out.filtered++
		return nil
	case l.byID[r.id]:
		l.out.doubled++
		return nil
	case len(l.out.rules) == maxRules:
		return fmt.Errorf("more than %d rules", maxRules)
	default:
		err = l.compiler.compile(r)
	}
	if err != nil {
		l.refuse(name, line, r.title, err)
		return nil
	}
	l.byID[r.id] = true
	for _, p := range l.compiler.programs {
		p.rule = len(l.out.rules)
		l.out.programs = append(l.out.programs, p)
	}
	l.out.rules = append(l.out.rules, r)
	l.out.tests = l.compiler.tests
	return nil
}

func (l *loader) refuse(name string, line int, title string, err error) {
	one := refusal{File: name, Line: line, Title: title, Keyword: "yaml", Reason: err.Error()}
	if why, ok := errors.AsType[*lack](err); ok {
		one.Keyword, one.Reason = why.keyword, why.reason
		if why.elsewhere {
			l.out.elsewhere = append(l.out.elsewhere, one)
			return
		}
	}
	l.out.refused = append(l.out.refused, one)
}

// lack is what a rule was refused for.
type lack struct {
	keyword, reason string
	elsewhere       bool // it is for a log that no wire tells
}

func (e *lack) Error() string { return e.keyword + ": " + e.reason }

func lacks(keyword, format string, args ...any) error {
	return &lack{keyword: keyword, reason: fmt.Sprintf(format, args...)}
}

// addFile reads a file as it lies on the disk: YAML, also in gzip, or a zip file of such.
func (l *loader) addFile(name string, text []byte) error {
	switch {
	case bytes.HasPrefix(text, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return err
		}
		if text, err = readAll(z, maxFile); err != nil {
			return err
		}
	case bytes.HasPrefix(text, []byte("PK\x03\x04")):
		return l.addZip(name, text)
	}
	return l.add(name, text)
}

func (l *loader) addZip(name string, packed []byte) error {
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return err
	}
	room := int64(maxUnpacked)
	for _, f := range z.File {
		if ext := path.Ext(f.Name); ext != ".yml" && ext != ".yaml" {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		text, err := readAll(in, min(maxFile, room))
		_ = in.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		room -= int64(len(text))
		if err := l.add(name+"/"+f.Name, text); err != nil {
			return err
		}
	}
	return nil
}

func readAll(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("larger than %d bytes", most)
	}
	return text, err
}

// load reads the rules that come with the plugin, and those of the operator.
func load(host sdk.Host, cfg *Config) (loaded, error) {
	l := newLoader(cfg.Statuses)
	if cfg.Defaults {
		if err := l.add("default.yml", defaultRules); err != nil {
			return loaded{}, err
		}
	}
	for _, name := range cfg.Rules {
		if host == nil {
			return loaded{}, errors.New("there is nobody to open files")
		}
		f, err := host.Open(name)
		if err != nil {
			return loaded{}, sdk.Errorf(sdk.InvalidConfig, "rules: %w", err)
		}
		text, err := readAll(f, maxFile)
		_ = f.Close()
		if err == nil {
			err = l.addFile(name, text)
		}
		if err != nil {
			return loaded{}, sdk.Errorf(sdk.InvalidConfig, "%s: %w", name, err)
		}
	}
	return l.out, nil
}

// byKeyword counts the refused rules by the word that nothing here understands, the most frequent first.
func byKeyword(refused []refusal) string {
	count := map[string]int{}
	for _, r := range refused {
		count[r.Keyword]++
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(count[b]-count[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, count[name])
	}
	return strings.Join(names, ", ")
}
