//go:build unix

package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/wire"
)

type idle struct{ config any }

func (i idle) Config() any { return i.config }

func TestDescribe(t *testing.T) {
	config := &struct {
		Limit int `json:"limit" default:"3" doc:"How many."`
	}{}
	plugin := sdk.Plugin{ID: "test/idle", Kind: sdk.KindDetector, Summary: "Does nothing.", Subscription: sdk.Subscription{Flows: true},
		Rules: []sdk.Rule{{ID: "r", Purpose: "None.", Severity: sdk.SeverityLow}}, New: func() sdk.Instance { return idle{config} }}
	var out bytes.Buffer
	if err := describe(&out, []sdk.Plugin{plugin}); err != nil {
		t.Fatal(err)
	}
	var got []abi.Description
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].ID != "test/idle" || !got[0].Subscription.Flows || got[0].Rules[0].ID != "r" {
		t.Errorf("got %+v", got)
	}
	for _, key := range []string{`"config_schema"`, `"limit"`, `"summary"`, `"severity": "low"`} {
		if !strings.Contains(out.String(), key) {
			t.Errorf("no %s in %s", key, &out)
		}
	}
	plugin.New = func() sdk.Instance { return idle{&struct{ NoTag int }{}} }
	if err := describe(&out, []sdk.Plugin{plugin}); err == nil {
		t.Error("a configuration without tags was described")
	}
	out.Reset()
	if err := describe(&out, nil); err != nil || strings.TrimSpace(out.String()) != "[]" {
		t.Errorf("no plugin: %q, %v", out.String(), err)
	}
}

func TestLifeline(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd, err := syscall.Dup(int(r.Fd())) // watchLifeline owns what it is given
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.LifelineEnv, fmt.Sprint(fd))
	exited := make(chan int, 1)
	if err := watchLifeline(func(code int) { exited <- code }); err != nil {
		t.Fatal(err)
	}
	if _, still := os.LookupEnv(wire.LifelineEnv); still {
		t.Error("programs that the plugin starts would see the variable")
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-exited:
		t.Fatalf("a byte ended the process with %d", code)
	case <-time.After(20 * time.Millisecond):
	}
	w.Close()
	select {
	case code := <-exited:
		if code != exitHostGone {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the end of the host was not noticed")
	}
}

func TestLifelineThatIsNone(t *testing.T) {
	for _, bad := range []string{"", "x", "-1", "1", "60000"} {
		t.Setenv(wire.LifelineEnv, bad)
		if err := watchLifeline(func(int) {}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	os.Unsetenv(wire.LifelineEnv)
	if err := watchLifeline(func(int) { t.Error("it ended the process") }); err != nil {
		t.Errorf("without a lifeline: %v", err)
	}
}

// Without the certificate of the host there is nobody to talk to, and no socket either.
func TestNoControlWithoutTheHostsCertificate(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(socketDirEnv, dir)
	for _, bad := range []string{"", "no certificate"} {
		t.Setenv(clientCertEnv, bad)
		if c, err := openControl(func(*grpc.Server) {}); err == nil {
			c.listener.Close()
			t.Errorf("%q: it serves at %s", bad, c.line)
		} else if !strings.Contains(err.Error(), clientCertEnv) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
