//go:build !wasip1

package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/instance"
	"github.com/picketwatch/picket/sdk/internal/prochost"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
)

// Backend is what a process serves: the registered plugins of this program, or a guest that it runs.
type Backend interface {
	Describe(ctx context.Context) ([]abi.Description, error)
	Configure(ctx context.Context, cfg abi.InstanceConfig) error
	Collect(ctx context.Context, instance string, req sdk.CollectRequest, sink sdk.SampleSink) error
	// Watch runs beside the other calls, until ctx ends.
	Watch(ctx context.Context, instance string, sink sdk.SampleSink) error
	Discover(ctx context.Context, instance string, scope sdk.Scope, sink sdk.SightingSink) error
	// Inspect gets a frame whose memory is used again after the call, or is shared with the host. Its checksum means nothing.
	// The sink, also that of Flush, is an sdk.SightingSink too, for what an observer sees.
	Inspect(ctx context.Context, instance, capture string, frame []byte, sink sdk.FindingSink) error
	Flush(ctx context.Context, instance string, sink sdk.FindingSink) error
	Notify(ctx context.Context, instance string, notice sdk.Notice) (sdk.Receipt, error)
	Undo(ctx context.Context, instance string, receipt sdk.Receipt) error
	Status(ctx context.Context, instance string, receipt sdk.Receipt) (sdk.DeliveryStatus, error)
	Health(ctx context.Context, instance string) error
	// Progress returns a number that grows with each call that begins or ends and with what calls emit, and how many calls
	// are at work.
	Progress(instance string) (progress uint64, busy int)
	Snapshot(ctx context.Context, instance string) ([]byte, error)
	Restore(ctx context.Context, instance string, state []byte) error
	Stop(ctx context.Context, instance string) error
	StopAll(ctx context.Context) error
}

// drainTime is how long instances may take to stop once the host has ended the connection.
const drainTime = time.Second

// Main serves all registered plugins and exits when the host is done or gone. With the argument "describe" it prints
// their descriptions as JSON instead.
func Main() {
	if len(os.Args) > 1 && os.Args[1] == "describe" {
		if err := describe(os.Stdout, sdk.Registered()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	log := jsonLog()
	set := instance.New(instance.Config{
		Plugins:  sdk.Registered(),
		Verified: true, // by the carriers: TLS, or memory of this machine
		NewHost:  func(cfg abi.InstanceConfig) (sdk.Host, error) { return prochost.New(cfg, log), nil },
		Panicked: func(id string) { log.Error(wire.Panicked, "instance", id) },
	})
	Serve(set)
}

// Serve serves the backend until the host ends the connection or is gone, then exits the process.
func Serve(backend Backend) {
	log := jsonLog()
	slog.SetDefault(log)
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		fmt.Fprintln(os.Stderr, "This program is a plugin of Picket, which starts it. With the argument describe it says what is in it.")
		os.Exit(1)
	}
	if err := watchLifeline(os.Exit); err != nil {
		log.Error("lifeline", "error", err)
		os.Exit(1)
	}
	records, err := openRecords(backend, log)
	if err != nil {
		log.Error("record plane", "error", err)
		os.Exit(1)
	}
	c, err := openControl(func(s *grpc.Server) { register(s, backend, records) })
	if err != nil {
		log.Error("control connection", "error", err)
		os.Exit(1)
	}
	if err := c.run(); err != nil {
		log.Error("control connection", "error", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := backend.StopAll(ctx); err != nil {
		log.Warn("stop", "error", err)
	}
	os.Exit(0)
}

// serverOptions set the limits, and windows that a whole frame fits into: with gRPC's default of 64 KiB a frame would
// wait for the host several times.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage),
		grpc.InitialWindowSize(wire.Window), grpc.InitialConnWindowSize(wire.Window),
		grpc.ReadBufferSize(0), grpc.WriteBufferSize(wire.ConnBuffer), // TLS has a buffer for what is read
		grpc.ForceServerCodecV2(wire.Codec()), experimental.BufferPool(wire.Buffers()),
	}
}

// Describe returns what the registered plugins say about themselves.
func Describe() ([]abi.Description, error) {
	return descriptions(sdk.Registered())
}

func descriptions(plugins []sdk.Plugin) ([]abi.Description, error) {
	out := make([]abi.Description, 0, len(plugins))
	for _, p := range plugins {
		d, err := instance.Describe(p)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func describe(w io.Writer, plugins []sdk.Plugin) error {
	out, err := descriptions(plugins)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
