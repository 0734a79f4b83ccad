package email

import (
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
)

// explain gives a failed delivery its class: what the server refused for good (5xx) is not tried again, what it put off
// (4xx) and what went wrong on the way to it is.
func (n *Notifier) explain(ctx context.Context, err error) error {
	if cause := ctx.Err(); errors.Is(cause, context.Canceled) {
		return cause
	} else if cause != nil { // the connection was closed under the library, whose error says only that
		return sdk.Errorf(sdk.Temporary, "mail through %s: no end within %s: %w", n.config.Host, n.config.Timeout, cause)
	}
	return sdk.Errorf(class(err), "mail through %s: %w", n.config.Host, err)
}

func class(err error) sdk.Class {
	var classed *sdk.Error
	if errors.As(err, &classed) {
		return classed.Class
	}
	if c, ok := trust.Class(err); ok {
		return c
	}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return codeClass(reply.Code)
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return sdk.Temporary
	}
	return sdk.Downstream // the server lacks STARTTLS, or a way to log in that does not give the password away
}

func codeClass(code int) sdk.Class {
	if code >= 500 {
		return sdk.Downstream
	}
	return sdk.Temporary
}
