package webattack

import (
	"fmt"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/sdk"
)

// rule is what is said of a kind.
type rule struct {
	id, purpose string
	techniques  []string
	severity    sdk.Severity
	benign      string
}

// What is found, by number. All that one source tries at one server is one matter.
const (
	attack uint8 = iota
	orders
	tool
	script
)

var rules = [...]rule{attack: {"web-attack", "A request tries to break into a web application, or to make it do what it should not.",
	[]string{"T1190"}, sdk.SeverityMedium, "Own scanners, tests of one's own applications, pages about such attacks whose addresses quote them."},
	orders: {"web-shell", "A script of a web server is given a command to run.",
		[]string{"T1505.003"}, sdk.SeverityHigh, "Pages for administrators that run commands."},
	tool: {"web-scanner", "A program that looks for weaknesses of web applications says its name.",
		[]string{"T1595.002"}, sdk.SeverityLow, "Own scanners."},
	script: {"web-script", "A request holds a script that the visitors of a web application are to be shown.",
		[]string{"T1189"}, sdk.SeverityMedium, "Editors of pages who send scripts of their own, and own scanners."},
}

// ruleOf is what signs are told as.
func ruleOf(signs uint32) uint8 {
	switch signs &^ answers {
	case webshell:
		return orders
	case scanner:
		return tool
	case xss:
		return script
	}
	return attack
}

var words = [...]string{
	"SQL injection", "cross-site scripting", "path traversal", "injected commands", "a lookup of Log4j (Log4Shell)", "Shellshock", "orders to a web shell", "the name of a scanner",
}

// sure is how sure one attempt of a kind is by itself, in hundredths.
var sure = [len(words)]int{50, 50, 50, 55, 70, 75, 60, 40}

// judge is how severe the matter is, and how sure.
func judge(signs uint32) (sdk.Severity, float64) {
	n, kinds := 0, 0
	for i := range words {
		if signs&(1<<i) != 0 {
			n, kinds = max(n, sure[i]), kinds+1
		}
	}
	severity := sdk.SeverityLow
	if signs&(jndi|shellshock) != 0 {
		severity = sdk.SeverityMedium
	}
	if signs&accepted != 0 {
		severity, n = sdk.SeverityMedium, n+15
	} else if signs&refused != 0 && kinds == 1 {
		n -= 10
	}
	if signs&failed != 0 && signs&sql != 0 {
		n += 10 // what was injected broke a query
	}
	if kinds > 1 {
		severity, n = sdk.SeverityMedium, n+10
	}
	if signs&scan != 0 {
		severity, n = sdk.SeverityMedium, n+20
	}
	if signs&accepted != 0 && signs&(jndi|shellshock|webshell) != 0 {
		severity = sdk.SeverityHigh
	}
	return severity, float64(min(n, 95)) / 100
}

func finding(i *issue.Issue) sdk.Finding {
	severity, confidence := judge(i.Signs)
	f := i.Finding(severity, confidence)
	r := &rules[i.Key.Rule]
	f.Detector, f.Rule, f.Techniques = "picket/web-attack", r.id, r.techniques
	var tried []string
	for n, word := range words {
		if i.Signs&(1<<n) != 0 {
			tried = append(tried, word)
		}
	}
	does := "tried to break into"
	if i.Signs&scan != 0 || i.Key.Rule == tool {
		does = "scans"
	}
	f.Summary = fmt.Sprintf("%s %s the web server %s: %s", i.Key.Client.Addr(), does, i.Server(), strings.Join(tried, ", "))
	switch {
	case i.Count > 1 && i.Signs&accepted != 0:
		f.Summary += fmt.Sprintf(", in %d requests, some of which were answered as if they were in order", i.Count)
	case i.Count > 1:
		f.Summary += fmt.Sprintf(", in %d requests", i.Count)
	case i.Signs&accepted != 0:
		f.Summary += ", which was answered as if it were in order"
	}
	if len(i.Names) > 0 {
		f.Summary += " (" + i.Names[0] + ")"
	}
	return f
}
