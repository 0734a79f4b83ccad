package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// rule is one of the operator's, without what it looks for.
type rule struct {
	id, title      string
	status         string
	severity       sdk.Severity
	techniques     []string
	falsePositives []string
	references     []string
	log            log
	detection      mapping
}

// log is where a rule says that its events come from.
type log struct{ category, product, service string }

func (l log) String() string {
	var parts []string
	for _, p := range [...][2]string{{"category", l.category}, {"product", l.product}, {"service", l.service}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return "logsource " + strings.Join(parts, ", ")
}

// levels are what rules call severities.
var levels = map[string]sdk.Severity{
	"informational": sdk.SeverityInfo, "low": sdk.SeverityLow, "medium": sdk.SeverityMedium, "high": sdk.SeverityHigh, "critical": sdk.SeverityCritical,
}

// documentary are the keys of a rule that say nothing about what it looks for.
var documentary = []string{"related", "name", "description", "license", "author", "date", "modified", "fields", "scope", "simulation", "regression_tests_path"}

// readRule reads a document. With an error comes what was read of it.
func readRule(text []byte) (*rule, error) {
	r := &rule{status: "experimental", severity: sdk.SeverityLow}
	if len(text) > maxDocument {
		return r, fmt.Errorf("larger than %d bytes", maxDocument)
	}
	doc, err := readYAML(text)
	if err != nil {
		if why, ok := errors.AsType[*lack](err); ok {
			return r, why
		}
		return r, lacks("yaml", "%s", strings.SplitN(err.Error(), "\n", 2)[0])
	}
	for _, item := range doc {
		if err := r.read(item.key, item.value); err != nil {
			return r, err
		}
	}
	switch {
	case r.title == "":
		return r, lacks("title", "it has none")
	case r.detection == nil:
		return r, lacks("detection", "it has none")
	}
	if r.id == "" {
		r.id = r.title
	}
	return r, nil
}

func (r *rule) read(key string, v any) error {
	var err error
	switch key {
	case "title":
		r.title, err = short(key, v)
	case "id":
		r.id, err = short(key, v)
	case "status":
		r.status, err = short(key, v)
	case "level":
		var name string
		if name, err = short(key, v); err == nil {
			var known bool
			if r.severity, known = levels[name]; !known {
				err = lacks(key, "%q is none", name)
			}
		}
	case "tags":
		err = r.readTags(v)
	case "falsepositives":
		r.falsePositives, err = texts(key, v)
	case "references":
		r.references, err = texts(key, v)
	case "taxonomy":
		if v != "sigma" {
			err = lacks(key, "fields of %v are not known", v)
		}
	case "logsource":
		err = r.readLog(v)
	case "detection":
		var ok bool
		if r.detection, ok = v.(mapping); !ok {
			err = lacks(key, "it has no names")
		}
	default:
		if !slices.Contains(documentary, key) {
			err = lacks(key, "rules with it are not known here")
		}
	}
	return err
}

func (r *rule) readLog(v any) error {
	fields, ok := v.(mapping)
	if !ok {
		return lacks("logsource", "it has no names")
	}
	for _, f := range fields {
		var err error
		switch f.key {
		case "category":
			r.log.category, err = short("logsource", f.value)
		case "product":
			r.log.product, err = short("logsource", f.value)
		case "service":
			r.log.service, err = short("logsource", f.value)
		case "definition": // words for people
		default:
			err = lacks("logsource "+f.key, "it is not known")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var technique = regexp.MustCompile(`^attack\.(t\d{4}(?:\.\d{3})?)$`)

// maxTechniques is how many a finding names.
const maxTechniques = 16

func (r *rule) readTags(v any) error {
	tags, err := texts("tags", v)
	for _, tag := range tags {
		if m := technique.FindStringSubmatch(strings.ToLower(tag)); m != nil && len(r.techniques) < maxTechniques {
			if id := strings.ToUpper(m[1]); !slices.Contains(r.techniques, id) {
				r.techniques = append(r.techniques, id)
			}
		}
	}
	return err
}

// maxText is how long a title or another word about a rule may be.
const maxText = 512

func short(key string, v any) (string, error) {
	text, ok := scalar(v)
	if !ok || len(text) > maxText {
		return "", lacks(key, "it is no text, or longer than %d bytes", maxText)
	}
	return strings.TrimSpace(text), nil
}

// texts reads a list of words for people, or one of them.
func texts(key string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, one := range list {
		text, ok := scalar(one)
		if !ok {
			return nil, lacks(key, "it is no list of texts")
		}
		if text = strings.Join(strings.Fields(text), " "); text != "" {
			out = append(out, text)
		}
	}
	return out, nil
}

// scalar is the text of a value; false when it is a list or has names. Nothing is an empty text.
func scalar(v any) (string, bool) {
	if v == nil {
		return "", true
	}
	text, ok := v.(string)
	return text, ok
}
