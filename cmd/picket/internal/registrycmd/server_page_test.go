package registrycmd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// docs/registry-server.md is followed command by command.
func TestRegistryServerPage(t *testing.T) {
	for _, program := range []string{"bash", "curl", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("the page is written for a shell with " + program)
		}
	}
	d := newDrill(t)
	r := &registrytest.Registry{Dir: filepath.Join(d.dir, "registry"), Keys: filepath.Join(d.dir, "online")}
	r.SetNow(time.Now())
	if err := publish.Init(r.Dir, r.Keys, publish.Options{Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	r.Publish(t, registrytest.Plugin{ID: "picket/sample"})
	address := freeAddress(t)
	here := strings.NewReplacer("127.0.0.1:8080", address)
	d.follow(t, "registry-server.md", 5, map[string]func(what, script string){
		"run":   func(_, script string) { d.last = d.shell(t, here.Replace(script)) },
		"start": func(_, script string) { d.start(t, here.Replace(script), address) },
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a command of the page until the test ends, and waits until it answers.
func (d *drill) start(t *testing.T, command, address string) {
	t.Helper()
	fields := strings.Fields(command)
	cmd := exec.CommandContext(t.Context(), filepath.Join(d.dir, ".bin", fields[0]), fields[1:]...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), asPicket+"=yes")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was killed
	for range 3000 {
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the server does not listen")
}
