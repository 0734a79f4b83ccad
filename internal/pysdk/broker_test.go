package pysdk

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/reach"
)

// echoes starts servers that send back what they get.
func echoes(t *testing.T) (tcp, udp, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c) //nolint:errcheck // the test reads what came
			}()
		}
	}()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			p.WriteTo(buf[:n], from) //nolint:errcheck // the test reads what came
		}
	}()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", r.Header.Get("X-Test"))
		w.WriteHeader(http.StatusTeapot)
		w.Write(append(body, body...)) //nolint:errcheck // the test reads what came
	}))
	t.Cleanup(s.Close)
	return l.Addr().String(), p.LocalAddr().String(), s.URL + "/page?x=1"
}

func TestBroker(t *testing.T) {
	tcp, udp, url := echoes(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 777), 0o600); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	b := broker.New(broker.Config{Instance: "i", State: state, Grants: []sdk.Permission{
		{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.1"}}},
		{Cap: sdk.CapNetListen, Args: map[string][]string{"proto": {"udp"}}},
		{Cap: sdk.CapFSRead, Args: map[string][]string{"paths": {file}}},
	}})
	defer b.Close()
	ours, theirs, err := broker.Pair()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("the words"), 0o600); err != nil {
		t.Fatal(err)
	}
	model, err := os.OpenFile(words, os.O_RDWR, 0) // the plugin gets a descriptor of its own, for reading
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	own := broker.Belongings{State: reach.State(state), Models: []broker.Model{{ID: "test/words", Version: "1.2.0", Digest: "ab", File: model}}}
	go func() { served <- b.ServeWith(ours, own) }()
	cfg, log := testConfig(t, "-I", zipapp(t, "testdata/probe"))
	cfg.Cmd.ExtraFiles = []*os.File{theirs}
	cfg.Cmd.Env = append(cfg.Cmd.Env, "PICKET_BROKER_FD=3")
	p := start(t, cfg, log)
	theirs.Close()
	i := configure(t, p, "test/net", fmt.Sprintf(`{"tcp": %q, "udp": %q, "url": %q, "file": %q}`, tcp, udp, url, file))
	var s sinks
	if err := i.Collect(testContext(t), sdk.CollectRequest{}, &s); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	want := map[string]float64{"test.stream": 5000, "test.datagram": 5, "test.page": 418 + 10 + 1, "test.read": 777, "test.model": 9,
		"test.keep": 1<<20 + 1, "test.listen": 5, "test.refused": 1}
	for _, v := range s.samples {
		if v.Value != want[v.Metric] {
			t.Errorf("%s is %v, want %v", v.Metric, v.Value, want[v.Metric])
		}
		delete(want, v.Metric)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	p.Kill()
	if err := <-served; err != nil {
		t.Errorf("the broker ended with %v", err)
	}
}
