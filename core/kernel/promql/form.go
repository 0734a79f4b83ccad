package promql

import (
	"fmt"

	"github.com/prometheus/prometheus/promql/parser"
)

// Form is an expression as somebody needs it who asks it again and again.
type Form struct {
	Expr string
	// Known finds every series about which Expr says something, whether it finds it or not: its comparisons keep what they refuse.
	// It is empty for an expression that compares nothing.
	Known string
	// Watched is what the expression compares with Limit, when it compares series with one number: that is what a chart shows.
	Watched string
	Limit   *float64
}

// Vector checks an expression whose answer must be series at one time, and nothing that no series can give.
func (e *Engine) Vector(expr string) (Form, error) {
	if err := tooLarge(expr); err != nil {
		return Form{}, err
	}
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return Form{}, bad("query", err)
	}
	if parsed.Type() != parser.ValueTypeVector {
		return Form{}, bad("query", fmt.Errorf("the expression gives a %s; a rule needs series at one time (an instant vector)", parsed.Type()))
	}
	form := Form{Expr: parsed.String()}
	if x, ok := bare(parsed).(*parser.BinaryExpr); ok && x.Op.IsComparisonOperator() {
		if n, ok := bare(x.RHS).(*parser.NumberLiteral); ok {
			form.Watched, form.Limit = x.LHS.String(), &n.Val
		}
	}
	if keepRefused(parsed) {
		form.Known = parsed.String()
	}
	return form, nil
}

// bare is an expression without the brackets around it.
func bare(x parser.Expr) parser.Expr {
	for {
		p, ok := x.(*parser.ParenExpr)
		if !ok {
			return x
		}
		x = p.Expr
	}
}

// keepRefused turns the comparisons that decide which series an expression finds into ones that keep all series. It reports whether
// there are any.
func keepRefused(expr parser.Expr) bool {
	x, ok := bare(expr).(*parser.BinaryExpr)
	switch {
	case !ok:
		return false
	case x.Op.IsComparisonOperator():
		x.ReturnBool = true
		return true
	case x.Op == parser.LAND || x.Op == parser.LOR:
		left, right := keepRefused(x.LHS), keepRefused(x.RHS)
		return left || right
	}
	return x.Op == parser.LUNLESS && keepRefused(x.LHS)
}
