package custom

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/picketwatch/picket/sdk"
)

// What a condition may cost, in the steps that CEL counts; one takes some 10 to 50 ns.
const (
	// mostSteps is what one record may cost. A rule that could cost more at a record as large as they come is stopped there.
	mostSteps = 20_000
	// absurd is what is refused before it runs.
	absurd = 100_000_000
	// freeSteps is what no record can make expensive: such rules are not watched while they run.
	freeSteps = 200
	// averageSteps is what a record of its kind may cost a rule on average, and burst how far ahead of that it may be.
	averageSteps = 200
	burst        = 5_000_000

	maxNodes   = 1000 // of an expression, with what macros make of it
	maxNesting = 2    // of loops (exists, all, filter, map)
	maxRegex   = 500  // steps of the program of a regular expression
)

// rule is one that is ready to run.
type rule[T any] struct {
	*source
	holds   func(*T) bool // what must be true and is asked first; nil for nothing
	program cel.Program   // nil where holds says everything
	watched bool          // whether the program's steps are counted
	by      []*field[T]
	differs *field[T] // the field whose distinct values count
	title   []piece[T]
	account
}

// account is what a rule that is watched has spent.
type account struct {
	credit  int64
	settled uint64 // how many records of the kind had been seen when the credit was reckoned last
	steps   uint64
	off     bool
	errors  uint64 // conditions that came to no answer
	stopped uint64 // conditions that were stopped at mostSteps
}

// piece is a part of a title: words, a field, or a mark.
type piece[T any] struct {
	words string
	field *field[T]
}

// Marks in a title for numbers that are known later.
const (
	markCount    = "\x01"
	markDistinct = "\x02"
)

// compiler makes rules of one kind.
type compiler[T any] struct {
	*kindOf[T]
	file     *reader
	networks map[string]netip.Prefix
}

func compileRule[T any](k *kindOf[T], s *source) (*rule[T], []Problem) {
	c := compiler[T]{kindOf: k, file: &reader{file: s.file, rule: s.id}, networks: map[string]netip.Prefix{}}
	r := &rule[T]{source: s, account: account{credit: burst}}
	c.condition(r)
	c.counting(r)
	c.titled(r)
	if len(c.file.problems) == 0 {
		c.samples(r)
	}
	return r, c.file.problems
}

func (c *compiler[T]) env() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ExpressionNodeLimit(maxNodes), cel.ParserExpressionSizeLimit(maxWhen), cel.ParserRecursionLimit(100), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(maxNesting)),
	}
	for i := range c.fields {
		options = append(options, cel.Variable(c.fields[i].name, c.fields[i].celType()))
	}
	return cel.NewEnv(append(options, functions(c.networks)...)...)
}

func (c *compiler[T]) condition(r *rule[T]) {
	env, err := c.env()
	if err != nil {
		c.file.problem(r.whenAt, "%v", err)
		return
	}
	checked, issues := env.Compile(r.when)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			c.file.problem(r.inWhen(e.Location.Line(), e.Location.Column()), "%s", c.explain(e.Message))
		}
		return
	}
	if checked.OutputType() != cel.BoolType {
		c.file.problem(r.whenAt, "when is a %s, and must be true or false: compare it with something", cel.FormatCELType(checked.OutputType()))
		return
	}
	c.restrict(r, checked)
	estimate, err := env.EstimateCost(checked, prices{})
	switch {
	case err != nil:
		c.file.problem(r.whenAt, "%v", err)
	case estimate.Max > absurd:
		c.file.problem(r.whenAt, "it could take %d steps at one record, and %d is the most: ask a loop less, or of fewer things", estimate.Max, absurd)
	}
	if len(c.file.problems) > 0 {
		return
	}
	first := native(c.kindOf, checked.NativeRep().Expr())
	r.holds = first.holds
	if first.exact {
		return
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if r.watched = estimate.Max > freeSteps; r.watched {
		options = append(options, cel.CostTracking(prices{}), cel.CostLimit(mostSteps))
	}
	if r.program, err = env.Program(checked, options...); err != nil {
		c.file.problem(r.whenAt, "%v", err)
	}
}

// inWhen is where a place in the condition stands in the file.
func (s *source) inWhen(line, column int) position {
	switch {
	case s.whenAt.block:
		return position{line: s.whenAt.line + line - 1, column: s.whenAt.column + column}
	case line == 1:
		return position{line: s.whenAt.line, column: s.whenAt.column + column}
	}
	return s.whenAt
}

var undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'(?: \(in container '[^']*'\))?(?: \(did you mean '([^']*)'\?\))?`)

// explain says what CEL says in words of rules.
func (c *compiler[T]) explain(message string) string {
	m := undeclared.FindStringSubmatch(message)
	if m == nil {
		return clean(message, 512)
	}
	near := meant(m[1], c.names())
	if near == "" && m[2] != "" {
		near = fmt.Sprintf("; did you mean %s?", m[2])
	}
	text := fmt.Sprintf("%s has no field or function %q%s", c.name, m[1], near)
	if near == "" {
		text += " (its fields: " + strings.Join(c.names(), ", ") + ")"
	}
	return text
}

var offset = regexp.MustCompile(`^([+-]\d\d:\d\d|UTC)$`)

// restrict refuses what would differ between hosts, or could not be bounded: names of time zones, and networks and regular
// expressions that are made while the rule runs.
func (c *compiler[T]) restrict(r *rule[T], checked *cel.Ast) {
	info := checked.NativeRep().SourceInfo()
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		where := info.GetStartLocation(e.ID())
		at := r.inWhen(where.Line(), where.Column())
		switch name := call.FunctionName(); {
		case name == fnInCIDR:
			list := elements(call.Args()[1])
			texts := literal[types.String](list...)
			if len(list) == 0 || len(texts) != len(list) {
				c.file.problem(at, `inCIDR wants networks that stand in the rule, such as "10.0.0.0/8" or ["10.0.0.0/8", "192.168.0.0/16"]`)
			}
			for _, text := range texts {
				p, err := readNetwork(string(text))
				if err != nil {
					c.file.problem(at, "%q is no network such as 10.0.0.0/8", clean(string(text), 64))
				}
				c.networks[string(text)] = p
			}
		case name == "matches":
			if pattern := call.Args()[len(call.Args())-1]; pattern.Kind() != ast.LiteralKind {
				c.file.problem(at, "matches wants a regular expression that stands in the rule")
			}
		case strings.HasPrefix(name, "get") && len(call.Args()) > 0:
			if zone := literal[types.String](call.Args()[0]); len(zone) != 1 || !offset.MatchString(string(zone[0])) {
				c.file.problem(at, `%s knows no names of time zones, which differ between hosts: give an offset such as "+02:00"`, name)
			}
		}
	}))
}

func readNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// field finds one that is a single value.
func (c *compiler[T]) one(name string, at position, what string) *field[T] {
	f := c.find(name)
	switch {
	case f == nil:
		c.file.problem(at, "%s: %s has no field %q%s", what, c.name, clean(name, 64), meant(name, c.names()))
	case !f.plain():
		c.file.problem(at, "%s: %s holds several values", what, name)
		return nil
	}
	return f
}

func (c *compiler[T]) counting(r *rule[T]) {
	if r.count == nil {
		return
	}
	for _, name := range r.count.by {
		if f := c.one(name, r.count.at, "by"); f != nil {
			r.by = append(r.by, f)
		}
	}
	if r.count.distinct != "" {
		r.differs = c.one(r.count.distinct, r.count.at, "distinct")
	}
}

// titled takes a title apart.
func (c *compiler[T]) titled(r *rule[T]) {
	rest := r.source.title
	for _, at := range placeholders.FindAllStringIndex(r.source.title, -1) {
		begin := at[0] - (len(r.source.title) - len(rest))
		name := rest[begin : begin+at[1]-at[0]]
		r.title = append(r.title, piece[T]{words: rest[:begin]})
		rest = rest[begin+len(name):]
		name, closed := strings.CutSuffix(name[1:], "}")
		switch {
		case !closed:
			c.file.problem(r.titleAt, "title: %q has no end", "{"+name)
		case r.count != nil && name == "count":
			r.title = append(r.title, piece[T]{words: markCount})
		case r.count != nil && r.count.distinct != "" && name == "distinct":
			r.title = append(r.title, piece[T]{words: markDistinct})
		default:
			r.title = append(r.title, piece[T]{field: c.one(name, r.titleAt, "title")})
		}
	}
	r.title = append(r.title, piece[T]{words: rest})
}

// samples runs the rule over its samples: a rule that does not do what its author says is refused.
func (c *compiler[T]) samples(r *rule[T]) {
	run := ruleSet[T]{kind: c.kindOf}
	for i, list := range [2][]sample{r.fires, r.silent} {
		for n, s := range list {
			var record T
			before := len(c.file.problems)
			c.fill(&record, s)
			if len(c.file.problems) > before {
				continue
			}
			fired, err := run.judge(r, &record)
			switch {
			case errors.Is(err, errStopped):
				c.file.problem(s.at, "sample %d of %s takes more than %d steps", n+1, [2]string{"fires", "silent"}[i], mostSteps)
			case err != nil && i == 0:
				c.file.problem(s.at, "sample %d of fires comes to no answer: %s", n+1, clean(err.Error(), 200))
			case !fired && i == 0:
				c.file.problem(s.at, "sample %d of fires is not found", n+1)
			case fired && i == 1:
				c.file.problem(s.at, "sample %d of silent is found", n+1)
			}
		}
	}
	r.account = account{credit: burst}
}

// fill makes a record of a sample.
func (c *compiler[T]) fill(record *T, s sample) {
	for _, e := range s.fields {
		f := c.find(e.name)
		if f == nil {
			c.file.problem(e.at, "%s has no field %q%s", c.name, clean(e.name, 64), meant(e.name, c.names()))
			continue
		}
		if err := f.put(record, e.value); err != nil {
			c.file.problem(e.at, "%s: %v", e.name, err)
		}
	}
}

// put sets the field of a sample.
func (f *field[T]) put(record *T, value any) error {
	to := reflect.ValueOf(record).Elem().FieldByName(f.goName)
	switch have := to.Addr().Interface().(type) {
	case *netip.Addr:
		a, err := netip.ParseAddr(fmt.Sprint(value))
		*have = a
		return wanted(err == nil, "an address such as 10.0.0.1")
	case *time.Time:
		at, err := time.Parse(time.RFC3339, fmt.Sprint(value))
		*have = at
		return wanted(err == nil, "a time such as 2026-03-02T08:00:00Z, in quotes")
	case *sdk.EndReason:
		for r := sdk.EndNone; r <= sdk.EndCapture; r++ {
			if r.String() == value {
				*have = r
				return nil
			}
		}
		return errors.New("it must be a reason such as fin, rst or idle")
	case *[]byte:
		s, ok := value.(string)
		*have = []byte(s)
		return wanted(ok, "a text, whose bytes count")
	case *map[string]string:
		pairs, ok := value.(map[string]any)
		*have = map[string]string{}
		for name, v := range pairs {
			(*have)[name] = fmt.Sprint(v)
		}
		return wanted(ok, "a mapping")
	}
	if list, ok := value.([]any); ok && to.Kind() == reflect.Slice {
		out := reflect.MakeSlice(to.Type(), len(list), len(list))
		for i, v := range list {
			if err := putOne(out.Index(i), v); err != nil {
				return fmt.Errorf("element %d: %w", i+1, err)
			}
		}
		to.Set(out)
		return nil
	}
	return putOne(to, value)
}

func putOne(to reflect.Value, value any) error {
	v := reflect.ValueOf(value)
	switch to.Kind() {
	case reflect.String, reflect.Bool:
		if v.Kind() != to.Kind() {
			return wanted(false, map[reflect.Kind]string{reflect.String: "a text: put quotes around it", reflect.Bool: "true or false"}[to.Kind()])
		}
		to.Set(v.Convert(to.Type()))
	case reflect.Float64:
		if !v.IsValid() || !v.CanConvert(to.Type()) || v.Kind() == reflect.String {
			return wanted(false, "a number")
		}
		to.Set(v.Convert(to.Type()))
	case reflect.Slice:
		return wanted(false, "a list")
	default:
		n, ok := value.(int64)
		switch {
		case !ok:
			return wanted(false, "a whole number")
		case to.CanInt():
			to.SetInt(n)
		case n < 0 || to.OverflowUint(uint64(n)):
			return wanted(false, fmt.Sprintf("a number of %d bits", to.Type().Bits()))
		default:
			to.SetUint(uint64(n))
		}
	}
	return nil
}

func wanted(ok bool, what string) error {
	if ok {
		return nil
	}
	return errors.New("it must be " + what)
}
