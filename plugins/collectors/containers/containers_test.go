package containers

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/containers") }

func TestConformance(t *testing.T) {
	socket := engine(t, list, map[string]string{"aaaaaaaaaaaaaaaa": running})
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"socket": socket}))})
}

const (
	list = `[{"Id":"aaaaaaaaaaaaaaaa","Names":["/web"],"Image":"nginx:1","State":"running"},
{"Id":"bbbbbbbbbbbbbbbb","Names":["/job"],"Image":"","State":"exited"},
{"Id":"cccccccccccccccc","Names":[],"Image":"x","State":"paused"},
{"Id":"dddddddddddddddd","Names":["/gone"],"State":"running"},
{"Id":"eeeeeeeeeeeeeeee","Names":["/new"],"State":"hibernating"}]`
	// As Docker 20 answers on a machine with control groups of version 2, cut to what matters.
	running = `{"read":"2026-03-01T12:00:00Z","pids_stats":{"current":3},
"blkio_stats":{"io_service_bytes_recursive":[{"major":8,"minor":0,"op":"read","value":4096},{"major":8,"minor":16,"op":"read","value":4096},{"major":8,"minor":0,"op":"write","value":512}],"io_time_recursive":null},
"cpu_stats":{"cpu_usage":{"total_usage":2500000000,"usage_in_kernelmode":1},"online_cpus":2},
"memory_stats":{"usage":1000000,"stats":{"inactive_file":400000,"anon":5},"limit":67108864},
"networks":{"eth0":{"rx_bytes":11,"tx_bytes":12,"rx_packets":1}}}`
	bare = `{"cpu_stats":{"cpu_usage":{}},"memory_stats":{"usage":0,"limit":9223372036854771712},"blkio_stats":{"io_service_bytes_recursive":null}}`
)

// engine answers on a socket of its own, whose path is returned.
func engine(t *testing.T, list string, stats map[string]string) string {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, "/containers/")
		id := strings.TrimSuffix(path, "/stats")
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1.41/"): // as Docker 29 does
			http.Error(w, `{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version"}`, http.StatusBadRequest)
		case ok && path == "json" && r.URL.RawQuery == "all=1":
			fmt.Fprint(w, list)
		case ok && stats[id] != "" && r.URL.RawQuery == "stream=false&one-shot=true":
			fmt.Fprint(w, stats[id])
		default:
			http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
		}
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

func start(t *testing.T, config map[string]any) (*Collector, *plugintest.Host) {
	t.Helper()
	c := New()
	h := plugintest.Start(t, c, plugintest.JSON(t, config))
	t.Cleanup(func() { _ = c.Stop(t.Context()) })
	return c, h
}

func collect(t *testing.T, c *Collector) (plugintest.Readings, error) {
	t.Helper()
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

func TestCollect(t *testing.T) {
	c, h := start(t, map[string]any{"socket": engine(t, list, map[string]string{"aaaaaaaaaaaaaaaa": running, "cccccccccccccccc": bare}), "exclude": []string{"new"}})
	if _, err := collect(t, c); err != nil {
		t.Fatal(err)
	}
	c.last["aaaaaaaaaaaaaaaa"] = reading{h.Time, 1.5}
	h.Time = h.Time.Add(10 * time.Second)
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	web := " container.id=aaaaaaaaaaaa container.image.name=nginx:1 container.name=web"
	got.Want(t, map[string]float64{
		"container.cpu.time" + web: 2.5, "container.cpu.usage" + web: 0.1,
		"container.memory.usage" + web: 1e6, "container.memory.working_set" + web: 6e5, "container.memory.usage.limit" + web: 64 << 20,
		"container.network.io" + web + " network.interface.name=eth0 network.io.direction=receive":                                   11,
		"container.network.io" + web + " network.interface.name=eth0 network.io.direction=transmit":                                  12,
		"container.disk.io" + web + " disk.io.direction=read":                                                                        8192,
		"container.disk.io" + web + " disk.io.direction=write":                                                                       512,
		"picket.container.state" + web + " container.state=running":                                                                  1,
		"picket.container.state container.id=bbbbbbbbbbbb container.name=job container.state=exited":                                 1,
		"picket.container.state container.id=cccccccccccc container.image.name=x container.name=cccccccccccc container.state=paused": 1,
		"picket.container.state container.id=dddddddddddd container.name=gone container.state=running":                               1,
		"picket.container.count container.state=running":                                                                             2, "picket.container.count container.state=exited": 1,
		"picket.container.count container.state=paused": 1, "picket.container.count container.state=other": 1,
	})
}

func TestBounds(t *testing.T) {
	var many []map[string]any
	networks := map[string]any{}
	for i := range 300 {
		many = append(many, map[string]any{"Id": fmt.Sprintf("%016d", i), "Names": []string{"/" + strings.Repeat("n", 1000) + fmt.Sprint(i)}, "State": "exited"})
		networks[fmt.Sprint("eth", i)] = map[string]any{"rx_bytes": 1}
	}
	text, _ := json.Marshal(many)
	c, _ := start(t, map[string]any{"socket": engine(t, string(text), nil), "most": 7})
	got, err := collect(t, c)
	if err != nil || len(got) != 7+2 {
		t.Errorf("%d samples, %v", len(got), err)
	}
	var s stats
	text, _ = json.Marshal(map[string]any{"networks": networks})
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	var out measure.Samples
	if s.measure(&out); out.Len() != 2*maxInterfaces {
		t.Errorf("%d samples of interfaces", out.Len())
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	c, _ := start(t, map[string]any{"socket": "/nonexistent/s"})
	if got, err := collect(t, c); err == nil || len(got) != 0 {
		t.Errorf("nobody: %v, %v", got, err)
	}
	for _, text := range []string{"", "{", `{"message":"x"}`, `[{"Id":1}]`} {
		c, _ := start(t, map[string]any{"socket": engine(t, text, nil)})
		if got, err := collect(t, c); sdk.ClassOf(err) != sdk.Downstream || len(got) != 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	c, _ = start(t, map[string]any{"socket": engine(t, list, map[string]string{"aaaaaaaaaaaaaaaa": "{", "cccccccccccccccc": bare})})
	got, err := collect(t, c)
	if err == nil || got.Value("picket.container.count container.state=running") != 2 {
		t.Errorf("one bad answer: %v, %v", got, err)
	}
	if err := plugintest.Decode(New(), `{"socket": "docker.sock"}`); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("%v", err)
	}
}

// A real engine is understood: what podman was told to create is listed, in its state. Nothing is started, for which not every machine
// that runs tests has the rights.
func TestPodman(t *testing.T) {
	program, err := exec.LookPath("podman")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs podman, as root")
	}
	dir := t.TempDir()
	podman := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), program, append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp",
			"--cgroup-manager=cgroupfs", "--storage-driver=vfs"}, args...)...)
	}
	if err := os.Mkdir(dir+"/rootfs", 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := podman("create", "--name", "one", "--network", "none", "--rootfs", dir+"/rootfs", "/x").CombinedOutput(); err != nil {
		t.Skipf("podman cannot make a container here: %s", out)
	}
	service := podman("system", "service", "--time=0", "unix://"+dir+"/s")
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", dir+"/s"); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("podman's service does not listen")
		}
	}
	c, _ := start(t, map[string]any{"socket": dir + "/s"})
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got.Value("picket.container.count container.state=created") != 1 || got.Value("picket.container.count container.state=running") != 0 {
		t.Errorf("%v", got)
	}
}

func FuzzStats(f *testing.F) {
	f.Add([]byte(running))
	f.Add([]byte(bare))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s stats
		if json.Unmarshal(b, &s) != nil {
			return
		}
		var out measure.Samples
		s.measure(&out)
		if out.Len() > 8+2*maxInterfaces {
			t.Errorf("%d samples", out.Len())
		}
	})
}
