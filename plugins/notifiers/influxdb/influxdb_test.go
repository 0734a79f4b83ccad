package influxdb

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/influxdb") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(`{"url": "http://127.0.0.1:9", "database": "picket", "timeout": "1s"}`)})
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestLines(t *testing.T) {
	for want, s := range map[string]sdk.Sample{
		"system.cpu.time,cpu.mode=user,host.name=web-1 value=12.5 1772366400000000\n": {Metric: "system.cpu.time", Labels: map[string]string{"cpu.mode": "user", "host.name": "web-1"}, Value: 12.5},
		"m value=1e+300 1772366400000000\n":                                           {Metric: "m", Labels: map[string]string{"a": "", "": "b"}, Value: 1e300},
		`a\,\ b=c,k\,\=\ =\,v\=\ "\x value=-3 1772366400000000` + "\n":                {Metric: "a, b=c", Labels: map[string]string{"k,= ": `,v= "\x`}, Value: -3},
		"_#no\\ comment,time_=end,x=a\\ b value=0 1772366400000000\n":                 {Metric: "#no comment", Labels: map[string]string{"time": `end\\`, "x": "a\nb"}},
		"": {Metric: "\\"},
	} {
		s.Time = noon
		if got := string(lines([]sdk.Sample{s})); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

// Whatever a label holds, a sample is one line, and its value and time stand at the end.
func FuzzLines(f *testing.F) {
	f.Add("m", "k", "v", 1.5)
	f.Add("#\n", "time", "\\\\", -1e300)
	f.Fuzz(func(t *testing.T, metric, key, value string, v float64) {
		got := string(lines([]sdk.Sample{{Metric: metric, Labels: map[string]string{key: value}, Value: v, Time: noon}}))
		if got != "" && (strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, " 1772366400000000\n") || strings.HasPrefix(got, "#")) {
			t.Errorf("%q", got)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"neither":           {URL: "http://a"},
		"both":              {URL: "http://a", Database: "d", Bucket: "b", Org: "o"},
		"no organisation":   {URL: "http://a", Bucket: "b"},
		"no scheme":         {URL: "a", Database: "d"},
		"a bad certificate": {URL: "https://a", Database: "d", CACertificates: "x"},
	} {
		if err := (&Sink{config: c}).Validate(); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var metrics = sdk.Notice{Event: sdk.EventMetrics, Samples: []sdk.Sample{{Metric: "m", Time: noon, Value: 1}}}

func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		config map[string]any
		path   string
		login  string
	}{
		"version 1":          {map[string]any{"database": "a b", "retention_policy": "w"}, "/write?db=a+b&precision=u&rp=w", ""},
		"version 1, a login": {map[string]any{"database": "d", "username": "u", "password": "p"}, "/write?db=d&precision=u", "Basic dTpw"},
		"version 2":          {map[string]any{"bucket": "b", "org": "o", "token": "t"}, "/api/v2/write?bucket=b&org=o&precision=us", "Token t"},
	} {
		got, _, err := plugintest.Posts(t, &Sink{}, func(url string) map[string]any { c.config["url"] = url; return c.config }, 204, nil, "", metrics)
		if err != nil || got.Path != c.path || got.Header.Get("Authorization") != c.login || string(got.Body) != "m value=1 1772366400000000\n" {
			t.Errorf("%s: %v %+v", name, err, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		notice sdk.Notice
		want   sdk.Class
	}{
		{204, metrics, ""}, {401, metrics, sdk.InvalidConfig}, {404, metrics, sdk.InvalidConfig}, {400, metrics, sdk.Downstream},
		{413, metrics, sdk.Downstream}, {429, metrics, sdk.Temporary}, {503, metrics, sdk.Temporary},
		{400, sdk.Notice{Event: "test"}, ""}, {401, sdk.Notice{Event: "test"}, sdk.InvalidConfig},
	} {
		_, _, err := plugintest.Posts(t, &Sink{}, func(url string) map[string]any { return map[string]any{"url": url, "database": "d"} }, c.status, nil, `{"error":"x"}`, c.notice)
		if (err == nil) != (c.want == "") || err != nil && sdk.ClassOf(err) != c.want {
			t.Errorf("%d: %v", c.status, err)
		}
	}
}

// A real InfluxDB gives back what was written, odd labels too, and what could not be written while it was away comes when it is back.
func TestInfluxd(t *testing.T) {
	if _, err := exec.LookPath("influxd"); err != nil {
		t.Skip("needs influxd (Debian package influxdb)")
	}
	d := newInfluxd(t)
	d.start()
	s := &Sink{}
	plugintest.Start(t, s, fmt.Sprintf(`{"url": %q, "database": "picket"}`, d.url))
	if _, err := s.Notify(t.Context(), metrics); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("there is no such database yet: %v", err)
	}
	d.query("POST", "CREATE DATABASE picket")
	if _, err := s.Notify(t.Context(), sdk.Notice{Event: "test"}); err != nil {
		t.Errorf("test: %v", err)
	}
	odd := map[string]string{"host.name": "web-1", "system.filesystem.mountpoint": `/a b,c=d"\x`, "emoji": "é,ü"}
	send := func(from, to int) error {
		n := sdk.Notice{Event: sdk.EventMetrics}
		for i := from; i < to; i++ {
			n.Samples = append(n.Samples, sdk.Sample{Metric: "system.filesystem.usage", Labels: odd, Time: noon.Add(time.Duration(i) * time.Second), Value: float64(i) + 1.0/3})
		}
		_, err := s.Notify(t.Context(), n)
		return err
	}
	if err := send(0, 10); err != nil {
		t.Fatal(err)
	}
	d.stop()
	if err := send(10, 20); sdk.ClassOf(err) != sdk.Temporary || err == nil {
		t.Fatalf("InfluxDB is away: %v", err)
	}
	d.start()
	for range 2 { // once more changes nothing
		if err := send(10, 20); err != nil {
			t.Fatal(err)
		}
	}
	var answer struct {
		Results []struct {
			Series []struct {
				Tags   map[string]string
				Values [][]any
			}
		}
	}
	text := d.query("GET", `SELECT value FROM "system.filesystem.usage" GROUP BY *`)
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Results) != 1 || len(answer.Results[0].Series) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	got := answer.Results[0].Series[0]
	for k, v := range odd {
		if got.Tags[k] != v {
			t.Errorf("tag %s is %q, not %q", k, got.Tags[k], v)
		}
	}
	if len(got.Values) != 20 {
		t.Fatalf("%d values", len(got.Values))
	}
	for i, v := range got.Values {
		if v[1] != float64(i)+1.0/3 {
			t.Errorf("value %d is %v", i, v[1])
		}
	}
}

type influxd struct {
	t         *testing.T
	dir, conf string
	url       string
	cmd       *exec.Cmd
}

func newInfluxd(t *testing.T) *influxd {
	t.Helper()
	d := &influxd{t: t, dir: t.TempDir(), url: fmt.Sprintf("http://127.0.0.1:%d", plugintest.FreePort(t))}
	d.conf = filepath.Join(d.dir, "influxdb.conf")
	text := fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:%[2]d"
[meta]
dir = "%[1]s/meta"
[data]
dir = "%[1]s/data"
wal-dir = "%[1]s/wal"
[http]
bind-address = "%[3]s"
log-enabled = false
[monitor]
store-enabled = false
`, d.dir, plugintest.FreePort(t), strings.TrimPrefix(d.url, "http://"))
	if err := os.WriteFile(d.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *influxd) start() {
	d.t.Helper()
	d.cmd = exec.Command("influxd", "-config", d.conf)
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = d.cmd.Process.Kill(); _ = d.cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.Get(d.url + "/ping")
		if err == nil {
			r.Body.Close()
			return
		}
		if time.Now().After(end) {
			d.t.Fatal("influxd does not answer")
		}
	}
}

func (d *influxd) stop() {
	_ = d.cmd.Process.Signal(os.Interrupt)
	_ = d.cmd.Wait()
}

func (d *influxd) query(method, q string) []byte {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+"/query?"+url.Values{"db": {"picket"}, "q": {q}}.Encode(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		d.t.Fatal(r.Status, err, string(text))
	}
	return text
}
