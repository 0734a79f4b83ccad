package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/agents"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/queue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// quotaType is the type of the problem that goes away once the operator has raised a quota, or something was removed.
const quotaType = "urn:picket:problem:quota"

// proveType is the type of the problem that goes away once somebody has proved who they are.
const proveType = "urn:picket:problem:prove"

var (
	errTooLarge = errors.New("the request is larger than this route accepts")
	errBroken   = errors.New("the request broke off before its end")
)

// fullAgain is when to try a full disk again. Somebody has to make room first.
const fullAgain = 30 * time.Second

// problem turns an error into a problem document (RFC 9457). What is not known here is logged and told to nobody.
func (s *Server) problem(ctx context.Context, err error) error {
	var known huma.StatusError
	if errors.As(err, &known) {
		return err
	}
	if p := describe(err); p != nil {
		return p
	}
	if ctx.Err() != nil {
		return huma.NewError(499, "the client went away")
	}
	s.cfg.Log.Error("request failed", "error", err)
	return huma.NewError(http.StatusInternalServerError, "something went wrong in the server; its log says more")
}

// describe knows the errors that tell a caller something. It returns nil for all others.
func describe(err error) error {
	for _, k := range []struct {
		is     error
		status int
	}{
		{store.ErrNotFound, http.StatusNotFound},
		{store.ErrConflict, http.StatusConflict},
		{store.ErrState, http.StatusConflict},
		{store.ErrUsed, http.StatusConflict},
		{store.ErrExpired, http.StatusConflict},
		{auth.ErrDenied, http.StatusUnauthorized},
		{auth.ErrLinkSpent, http.StatusUnauthorized},
		{auth.ErrWrongCode, http.StatusUnauthorized},
		{auth.ErrForeign, http.StatusUnauthorized},
		{auth.ErrSetupDone, http.StatusConflict},
		{auth.ErrOnlyFactor, http.StatusConflict},
		{auth.ErrNoOrigin, http.StatusUnprocessableEntity},
		{store.ErrLastAdministrator, http.StatusConflict},
		{store.ErrVersion, http.StatusPreconditionFailed},
		{store.ErrSameConfig, http.StatusConflict},
		{store.ErrGroupCycle, http.StatusUnprocessableEntity},
		{store.ErrGroupDepth, http.StatusUnprocessableEntity},
		{store.ErrGroupParent, http.StatusUnprocessableEntity},
		{store.ErrGroupInUse, http.StatusConflict},
		{store.ErrTooMany, http.StatusConflict},
		{store.ErrTooManyTokens, http.StatusConflict},
		{agents.ErrEnrolment, http.StatusUnauthorized},
		{errTooLarge, http.StatusRequestEntityTooLarge},
		{errBroken, http.StatusRequestTimeout},
		{catalogue.ErrNoShop, http.StatusUnprocessableEntity},
		{ErrEmptyUpload, http.StatusUnprocessableEntity},
		{ErrUploadTooBig, http.StatusRequestEntityTooLarge},
		{ErrBacklog, http.StatusTooManyRequests},
		{ErrNotWaiting, http.StatusConflict},
		{ErrNotStopped, http.StatusConflict},
		{ErrAnalysing, http.StatusConflict},
		{ErrNoPackets, http.StatusNotFound},
		{ErrCarveBusy, http.StatusTooManyRequests},
		{store.ErrSQLBusy, http.StatusTooManyRequests},
		{syscall.ENOSPC, http.StatusInsufficientStorage},
	} {
		if errors.Is(err, k.is) {
			return huma.NewError(k.status, k.is.Error())
		}
	}
	return describeTyped(err)
}

func describeTyped(err error) error {
	var (
		busy    *store.BusyError
		quota   *store.QuotaError
		limit   *store.LimitError
		query   *store.QueryError
		locked  *auth.LockedError
		input   *auth.InputError
		enrol   *agents.InputError
		order   *queue.InputError
		invalid *catalogue.InvalidError
		refused *registry.Refusal
		plugin  *sdk.Error
		capture *UnreadableError
	)
	switch {
	case errors.As(err, &busy):
		return later(http.StatusServiceUnavailable, busy.Error(), busy.RetryAfter)
	case errors.Is(err, store.ErrFull): // not 507: senders of OTLP give up what meets that
		return later(http.StatusServiceUnavailable, "on the server "+store.ErrFull.Error(), fullAgain)
	case errors.As(err, &quota):
		return later(http.StatusTooManyRequests, quota.Error(), quota.RetryAfter)
	case errors.As(err, &limit):
		return &huma.ErrorModel{Type: quotaType, Status: http.StatusForbidden, Title: "Forbidden", Detail: limit.Error(),
			Errors: []*huma.ErrorDetail{{Location: "quota", Message: limit.Quota}}}
	case errors.As(err, &locked):
		return later(http.StatusTooManyRequests, locked.Error(), locked.RetryAfter)
	case errors.Is(err, auth.ErrStale):
		return &huma.ErrorModel{Type: proveType, Status: http.StatusForbidden, Title: "Forbidden", Detail: err.Error()}
	case errors.Is(err, auth.ErrBusy):
		return later(http.StatusServiceUnavailable, err.Error(), time.Second)
	case errors.Is(err, queue.ErrOwn), errors.Is(err, queue.ErrNoPerson):
		return huma.Error403Forbidden(err.Error())
	case errors.Is(err, queue.ErrFull):
		return later(http.StatusTooManyRequests, err.Error(), time.Minute)
	case errors.As(err, &query):
		return huma.Error422UnprocessableEntity(query.Error())
	case errors.As(err, &input):
		return invalidField("body."+input.Field, input.Message)
	case errors.As(err, &enrol):
		return invalidField("body."+enrol.Field, enrol.Message)
	case errors.As(err, &order):
		return huma.Error422UnprocessableEntity(order.Error())
	case errors.As(err, &invalid):
		return invalidRequest(invalid)
	case errors.As(err, &refused):
		return refusal(refused)
	case errors.As(err, &plugin):
		return pluginProblem(plugin, err)
	case errors.As(err, &capture):
		return huma.Error422UnprocessableEntity(capture.Error())
	}
	return nil
}

// pluginProblem passes on what a plugin said: the class tells whose turn it is.
func pluginProblem(e *sdk.Error, err error) error {
	switch e.Class {
	case sdk.InvalidConfig, sdk.PermissionDenied, sdk.Unsupported:
		return huma.Error422UnprocessableEntity(err.Error())
	case sdk.Temporary:
		return later(http.StatusServiceUnavailable, err.Error(), e.RetryAfter)
	default:
		return huma.NewError(http.StatusBadGateway, err.Error())
	}
}

func later(status int, detail string, after time.Duration) error {
	seconds := max(1, int((after+time.Second-1)/time.Second))
	return huma.ErrorWithHeaders(huma.NewError(status, detail), http.Header{"Retry-After": {strconv.Itoa(seconds)}})
}

func invalidField(where, message string) error {
	return huma.Error422UnprocessableEntity(message, &huma.ErrorDetail{Location: where, Message: message})
}

func invalidRequest(e *catalogue.InvalidError) error {
	var details []error
	for _, f := range e.Fields {
		details = append(details, &huma.ErrorDetail{Location: f.Location, Message: f.Message})
	}
	return huma.Error422UnprocessableEntity(e.Error(), details...)
}

// refusal names the plugin and the reason; the reason is also a field of its own, for scripts.
func refusal(r *registry.Refusal) error {
	status := http.StatusUnprocessableEntity
	if r.Reason == registry.Unreachable {
		status = http.StatusBadGateway
	}
	return huma.NewError(status, r.Error(), &huma.ErrorDetail{Location: "registry", Message: string(r.Reason)})
}

// quiet takes the rejected values out of problem documents: among them may be a password.
func quiet(_ huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*huma.ErrorModel); ok {
		for _, d := range p.Errors {
			if d != nil {
				d.Value = nil
			}
		}
	}
	return v, nil
}

// refuse answers a request that reaches no handler.
func (s *Server) refuse(c *gin.Context, status int, detail string) {
	writeProblem(c, &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}

// fail answers a request outside huma with what an error means.
func (s *Server) fail(c *gin.Context, err error) {
	err = s.problem(c.Request.Context(), err)
	var headers huma.HeadersError
	if errors.As(err, &headers) {
		for name, values := range headers.GetHeaders() {
			c.Writer.Header()[name] = values
		}
	}
	var model *huma.ErrorModel
	if !errors.As(err, &model) {
		model = &huma.ErrorModel{Status: http.StatusInternalServerError, Title: "Internal Server Error"}
	}
	writeProblem(c, model)
}

func writeProblem(c *gin.Context, p *huma.ErrorModel) {
	body, err := json.Marshal(p)
	if err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Data(p.Status, "application/problem+json", body)
	c.Abort()
}
