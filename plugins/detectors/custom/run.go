package custom

import (
	"errors"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/picketwatch/picket/sdk"
)

// ruleSet are the rules over one kind of records, and what a condition is shown of the one at hand.
type ruleSet[T any] struct {
	kind   *kindOf[T]
	rules  []*rule[T]
	seen   uint64 // records
	byName map[string]*field[T]
	record *T
}

// ResolveName implements cel.Activation.
func (s *ruleSet[T]) ResolveName(name string) (any, bool) {
	f := s.byName[name]
	if f == nil {
		return nil, false
	}
	return f.value(s.record), true
}

// Parent implements cel.Activation.
func (s *ruleSet[T]) Parent() cel.Activation { return nil }

var errStopped = errors.New("it took too many steps")

// judge asks whether a rule holds for a record.
func (s *ruleSet[T]) judge(r *rule[T], record *T) (bool, error) {
	if r.holds != nil && !r.holds(record) {
		return false, nil
	}
	if r.program == nil {
		return true, nil
	}
	if s.byName == nil {
		s.byName = make(map[string]*field[T], len(s.kind.fields))
		for i := range s.kind.fields {
			s.byName[s.kind.fields[i].name] = &s.kind.fields[i]
		}
	}
	s.record = record
	value, details, err := r.program.Eval(s)
	if r.watched {
		r.pay(s.seen, details, err)
	}
	if err != nil {
		if stopped := (interpreter.EvalCancelledError{}); errors.As(err, &stopped) {
			return false, errStopped
		}
		return false, err
	}
	return value == types.True, nil
}

// pay takes what a condition cost off the credit of its rule, which grows with each record that comes.
func (r *rule[T]) pay(seen uint64, details *cel.EvalDetails, err error) {
	price := uint64(mostSteps)
	if err == nil || details != nil {
		if actual := details.ActualCost(); actual != nil {
			price = min(*actual, mostSteps)
		}
	}
	r.steps += price
	r.credit = min(burst, r.credit+int64(min(seen-r.settled, burst))*averageSteps) - int64(price)
	r.settled = seen
	r.off = r.credit < 0
}

func (s *ruleSet[T]) name() string { return s.kind.name }

func (s *ruleSet[T]) empty() { s.rules, s.seen = nil, 0 }

// add compiles a rule and takes it in, unless something is wrong with it or it is not enabled.
func (s *ruleSet[T]) add(from *source) []Problem {
	r, problems := compileRule(s.kind, from)
	if len(problems) == 0 && !from.asleep {
		s.rules = append(s.rules, r)
	}
	return problems
}

// reset lets all rules begin anew.
func (s *ruleSet[T]) reset() {
	s.seen = 0
	for _, r := range s.rules {
		r.account = account{credit: burst}
	}
}

func (s *ruleSet[T]) accounts(visit func(*source, *account)) {
	for _, r := range s.rules {
		visit(r.source, &r.account)
	}
}

func (s *ruleSet[T]) records() *uint64 { return &s.seen }

// inspect shows all rules a list of records.
func (s *ruleSet[T]) inspect(d *Detector, list []T, sink sdk.FindingSink) error {
	if len(s.rules) == 0 {
		return nil
	}
	for i := range list {
		s.seen++
		for _, r := range s.rules {
			if r.off {
				continue
			}
			fired, err := s.judge(r, &list[i])
			switch {
			case errors.Is(err, errStopped):
				r.stopped++
			case err != nil:
				r.errors++
			}
			if r.off {
				if err := d.runaway(r.source, &r.account, s.kind.place(&list[i]), sink); err != nil {
					return err
				}
			}
			if fired {
				if err := note(d, s.kind, r, &list[i], sink); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
