package runner

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// open builds and starts the guest asker.
func openAsker(t *testing.T) (*Guest, *Backend) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "asker.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, "./testdata/asker")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	g, err := Open(t.Context(), wasm, Config{Memory: 256 << 20, Log: log, Stderr: os.Stderr, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close(context.Background()) })
	return g, NewBackend(g)
}

// echoes answers over TCP and UDP on loopback.
func echoes(t *testing.T) (tcp, udp string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				// A guest has one thread: it reads when it has sent all, so all must be taken before.
				got, err := io.ReadAll(io.LimitReader(c, 3<<20+3))
				if err == nil {
					c.Write(got) //nolint:errcheck // the guest sees what is missing
				}
			})
		}
	})
	work.Go(func() {
		buf := make([]byte, 100)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			p.WriteTo(buf[:n], from) //nolint:errcheck // as above
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.Close()
		work.Wait()
	})
	return l.Addr().String(), p.LocalAddr().String()
}

type samples map[string]string

func (s samples) Sample(v sdk.Sample) error {
	s[v.Labels["ask"]] = v.Labels["got"]
	return nil
}

func TestOutsideOfAGuest(t *testing.T) {
	g, b := openAsker(t)
	tcp, udp := echoes(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", r.Method)
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, r.Header.Get("X-Asked")+" "+string(body)) //nolint:errcheck // a test server
	}))
	defer server.Close()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a.log")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]string{"tcp": tcp, "udp": udp, "url": server.URL, "file": file})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	collect := func(instance string, grants ...sdk.Permission) samples {
		t.Helper()
		if err := b.Configure(ctx, abi.InstanceConfig{Instance: instance, Plugin: "test/asker", Config: config, Grants: grants, StateDir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		got := samples{}
		if err := b.Collect(ctx, instance, sdk.CollectRequest{Time: time.Unix(1, 0), Interval: time.Second}, got); err != nil {
			t.Fatal(err)
		}
		if err := b.Stop(ctx, instance); err != nil {
			t.Error(err)
		}
		return got
	}
	granted := collect("granted",
		sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.1"}}},
		sdk.Permission{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": {dir}}})
	for ask, want := range map[string]string{
		"tcp": "true true", "udp": "datagram", "timeout": "true true", "denied": "permission_denied", "many": "256 temporary",
		"fetch": "202 yes body [POST]", "file": "a.log 5 hello llo", "state": "true true trueunsupported", "listen": "unsupported",
	} {
		if granted[ask] != want {
			t.Errorf("%s: got %.200q, want %q", ask, granted[ask], want)
		}
	}
	bare := collect("bare")
	for _, ask := range []string{"tcp", "udp", "timeout", "fetch", "file"} {
		if got := bare[ask]; !strings.Contains(got, "permission_denied") {
			t.Errorf("%s without a grant: %.200q", ask, got)
		}
	}
	if n := len(g.outside.handles); n != 0 {
		t.Errorf("%d handles are open", n)
	}
}
