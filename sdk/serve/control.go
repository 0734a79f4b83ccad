//go:build !wasip1

package serve

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/identity"
	"github.com/picketwatch/picket/sdk/internal/wire"
)

// What go-plugin, which the host runs, tells a plugin by its environment.
const (
	clientCertEnv = "PLUGIN_CLIENT_CERT"     // the only certificate to talk to
	socketDirEnv  = "PLUGIN_UNIX_SOCKET_DIR" // where the socket goes
)

// control is the plugin's end of the control connection. It speaks go-plugin's protocol: a line on stdout that says where
// the socket is and which certificate it shows, then gRPC with mutual TLS, until the host calls Shutdown. go-plugin's
// own end of it is not used, because every idle plugin would pay for what it brings: a key on P-521, reflection and
// net/rpc are a third of the memory of a small plugin. The host does without its services for output and brokers.
type control struct {
	listener net.Listener
	server   *grpc.Server
	line     string // for the host
}

// openControl makes the socket and the server, which talks to the host alone; register adds the services.
func openControl(register func(*grpc.Server)) (*control, error) {
	host := os.Getenv(clientCertEnv)
	if host == "" { // a server without TLS would serve anybody
		return nil, fmt.Errorf("%s is not set: the host puts the certificate there that this plugin talks to, and no other", clientCertEnv)
	}
	own, err := identity.New()
	if err != nil {
		return nil, err
	}
	config, err := identity.Server(own, host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clientCertEnv, err)
	}
	lis, err := listenControl()
	if err != nil {
		return nil, err
	}
	options := append(serverOptions(), grpc.Creds(credentials.NewTLS(config)))
	c := &control{listener: lis, server: grpc.NewServer(options...)}
	c.server.RegisterService(&controllerService, c)
	register(c.server)
	const core = 1 // of go-plugin's protocol
	c.line = fmt.Sprintf("%d|%d|%s|%s|grpc|%s", core, sdk.Protocol, lis.Addr().Network(), lis.Addr(), base64.RawStdEncoding.EncodeToString(own.Certificate[0]))
	return c, nil
}

// listenControl opens the socket in the folder that the host made for it.
func listenControl() (net.Listener, error) {
	if runtime.GOOS == "windows" {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	dir := os.Getenv(socketDirEnv)
	if dir == "" {
		return nil, fmt.Errorf("%s is not set: the host says there where the socket goes", socketDirEnv)
	}
	return net.Listen("unix", filepath.Join(dir, "s"))
}

// run tells the host where the socket is and serves until it calls Shutdown. What the plugin prints from then on goes to
// the log: the host listens on stdout for that one line only.
func (c *control) run() error {
	signal.Ignore(os.Interrupt) // it is for the host, when somebody presses Ctrl-C at its terminal
	if _, err := fmt.Fprintln(stdout, c.line); err != nil {
		return fmt.Errorf("say the address of the socket: %w", err)
	}
	stdoutToStderr()
	os.Stdout = os.Stderr
	return c.server.Serve(quietListener{c.listener})
}

// quietListener keeps this process from being woken when the host has read.
type quietListener struct{ net.Listener }

func (l quietListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wire.Quiet(conn), nil
}

// stdout is what os.Stdout was at the start. It is kept because the runtime closes what nobody holds any more: the next file
// of the plugin would then be descriptor 1, and get what a library prints.
var stdout = os.Stdout

// controllerService is go-plugin's, which has one method: the host is done.
var controllerService = grpc.ServiceDesc{
	ServiceName: "plugin.GRPCController",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Shutdown", Handler: func(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(&emptypb.Empty{}); err != nil {
			return nil, err
		}
		srv.(*control).server.Stop() // the host waits for the end of the process, not for the answer
		return &emptypb.Empty{}, nil
	}}},
}
