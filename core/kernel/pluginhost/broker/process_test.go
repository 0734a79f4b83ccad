//go:build linux

package broker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/serve"
)

const addressEnv = "PICKET_TEST_ADDRESS"

// The test program is also the plugin's process.
func TestMain(m *testing.M) {
	if address, ok := os.LookupEnv(addressEnv); ok {
		if err := plugin(address); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("fine")
		return
	}
	os.Exit(m.Run())
}

// plugin dials from two instances of one process. It has grants for nothing: the broker's are what counts.
func plugin(address string) error {
	for _, name := range []string{"one", "two"} {
		host := serve.NewHost(abi.InstanceConfig{Instance: name}, slog.New(slog.DiscardHandler))
		if _, ok := os.LookupEnv(brokerwire.Env); ok {
			return fmt.Errorf("the variable is still there")
		}
		conn, err := host.Dial(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		out, err := exec.Command("/bin/ls", "-l", "/proc/self/fd").Output()
		if err == nil && strings.Contains(string(out), "socket:") {
			return fmt.Errorf("a child inherits the broker: %s", out)
		}
		if _, err := io.WriteString(conn, name); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, make([]byte, len(name))); err != nil {
			return err
		}
		if name == "one" {
			conn.Close()
		} // the other is left to the end of the process
	}
	return nil
}

func TestInheritedBroker(t *testing.T) {
	l := echo(t)
	b := New(Config{Grants: []sdk.Permission{grant(sdk.CapNetDial, "to", "127.0.0.1")}, Log: slog.New(slog.DiscardHandler)})
	defer b.Close()
	run := func(fd string) string {
		t.Helper()
		host, child, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{addressEnv + "=" + l.Addr().String(), brokerwire.Env + "=" + fd}
		cmd.ExtraFiles = []*os.File{child}
		served := make(chan error, 1)
		go func() { served <- b.Serve(host) }()
		out, _ := cmd.CombinedOutput()
		child.Close()
		if err := <-served; err != nil {
			t.Errorf("the end of the process is no fault: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	if out := run("3"); out != "fine" {
		t.Errorf("the process says %s", out)
	}
	if n := openConns(b); n != 0 {
		t.Errorf("%d connections outlive the process", n)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if u := find(t, b, sdk.CapNetDial, "tcp 127.0.0.1:"+port); u.Count != 2 {
		t.Errorf("the use is %+v", u)
	}
	// A process that should have a broker never opens anything by itself.
	if out := run("nonsense"); !strings.Contains(out, "is not a descriptor") {
		t.Errorf("with a broken variable the process says %s", out)
	}
}
