// Package graphite is the sink picket/graphite: what goes in are notices with samples, what leaves are their paths, values and times
// over a connection to carbon, in lines or pickled.
package graphite

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the sink.
func Plugin() sdk.Plugin {
	return sdk.Plugin{ID: "picket/graphite", Kind: sdk.KindNotifier, Summary: "Carries what is measured to Graphite's carbon, over its line or its pickle protocol.", New: func() sdk.Instance { return &Sink{} }}
}

// Config is what an operator sets.
type Config struct {
	Server   string          `json:"server" required:"true" format:"hostport" doc:"Carbon, for example 192.0.2.14:2003; its pickle receiver mostly has port 2004."`
	Protocol string          `json:"protocol" enum:"lines,pickle" default:"lines" doc:"What carbon's receiver at that port understands."`
	Names    string          `json:"names" enum:"path,tags" default:"path" doc:"Whether labels become parts of the path, or tags as Graphite 1.1 has them."`
	Prefix   string          `json:"prefix" default:"picket" max:"128" doc:"The first parts of every path."`
	Metrics  []string        `json:"metrics" default:"*" max:"100" doc:"Names of the metrics to carry, or beginnings of names that end in *."`
	Timeout  config.Duration `json:"timeout" default:"20s" min:"100ms" max:"50s" doc:"How long one batch may take."`
}

// Sink writes to one carbon.
type Sink struct {
	config Config
	host   sdk.Host
}

// Config implements sdk.Instance.
func (s *Sink) Config() any { return &s.config }

// Validate checks what tags cannot say.
func (s *Sink) Validate() error {
	for _, part := range strings.Split(s.config.Prefix, ".") {
		if part == "" || escape(part) != part {
			return sdk.Errorf(sdk.InvalidConfig, "prefix: %q is not letters, digits, - and _ with single dots between them", s.config.Prefix)
		}
	}
	return nil
}

// Start implements sdk.Starter.
func (s *Sink) Start(_ context.Context, host sdk.Host) error {
	s.host = host
	return nil
}

// Notify implements sdk.Notifier. A notice without samples only tries the connection.
func (s *Sink) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.config.Timeout))
	defer cancel()
	if err := s.send(ctx, s.config.encode(notice.Samples)); err != nil {
		return sdk.Receipt{}, rest.Unreachable(s.config.Server, err)
	}
	return sdk.Receipt{}, nil
}

// send writes all, says that this was all, and waits until carbon hangs up, which it does once it has read everything: its protocols
// have no other answer, and what is only on its way is lost when carbon is restarted.
func (s *Sink) send(ctx context.Context, data []byte) error {
	conn, err := s.host.Dial(ctx, "tcp", s.config.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(data); err != nil {
		return err
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection cannot be closed on one side")
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	return hungUp(conn)
}

// hungUp waits for the end of the stream. Carbon says nothing, so whoever says something is not carbon.
func hungUp(conn net.Conn) error {
	n, err := conn.Read(make([]byte, 1))
	switch {
	case n > 0:
		return sdk.Errorf(sdk.InvalidConfig, "what listens there is not carbon: it answered")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
