package agent

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

func itoa(n int) string { return strconv.Itoa(n) }

func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestScope(t *testing.T) {
	local := func() ([]net.Addr, error) {
		_, lo, _ := net.ParseCIDR("127.0.0.0/8")
		_, lan, _ := net.ParseCIDR("192.168.7.9/24")
		return []net.Addr{lo, lan}, nil
	}
	for name, c := range map[string]struct{ config, want string }{
		"stated":            {`{"targets":["10.1.2.3/8","2001:db8::1"],"rate":5}`, "[10.0.0.0/8 2001:db8::1/128]"},
		"nothing stated":    {`{"rate":5}`, "[192.168.7.0/24]"},
		"no configuration":  {``, "[192.168.7.0/24]"},
		"empty list":        {`{"targets":[]}`, "[192.168.7.0/24]"},
		"not an address":    {`{"targets":["printer"]}`, "error"},
		"not a list at all": {`{"targets":7}`, "error"},
	} {
		scope, err := scopeOf(pluginhost.Assignment{Config: []byte(c.config)}, local)
		got := "error"
		if err == nil {
			got = fmt.Sprint(scope.Prefixes)
		}
		if got != c.want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, c.want)
		}
	}
	if _, err := scopeOf(pluginhost.Assignment{}, func() ([]net.Addr, error) { return nil, errors.New("no") }); err == nil {
		t.Error("no error without interfaces")
	}
}

func TestPatienceGrowsAndObeys(t *testing.T) {
	p := patience{base: time.Second, most: 10 * time.Second}
	for i, most := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
		if d := p.after(errors.New("no")); d < most*time.Second/2 || d > most*time.Second {
			t.Errorf("wait %d is %s, want %d to %d s", i, d, most/2, most)
		}
	}
	p.reset()
	if d := p.after(&problem{Status: http.StatusServiceUnavailable, RetryAfter: time.Minute}); d < time.Minute || d > 67*time.Second {
		t.Errorf("the server asked for a minute, the wait is %s", d)
	}
	for range 100 {
		if d := p.after(nil); d > 10*time.Second || d <= 0 {
			t.Fatalf("wait of %s", d)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "17": 17 * time.Second, "-1": 0, "99999": time.Hour, "soon": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
	} {
		h := http.Header{}
		h.Set("Retry-After", text)
		if got := retryAfter(h, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestServerClock(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &server{now: func() time.Time { return now }}
	hear := func(ahead time.Duration) time.Duration {
		h := http.Header{}
		h.Set("Date", now.Add(ahead).Format(http.TimeFormat))
		s.heard(&http.Response{Header: h})
		return s.serverTime().Sub(now).Round(time.Second)
	}
	for i, c := range []struct{ ahead, want time.Duration }{
		{2 * time.Second, 0}, {-2 * time.Second, 0}, {-20 * time.Second, -20 * time.Second}, {time.Hour, time.Hour}, {time.Hour + time.Second, time.Hour},
		{time.Hour + time.Minute, time.Hour + time.Minute}, {time.Second, 0}, {-time.Hour, -time.Hour},
	} {
		if got := hear(c.ahead); (got - c.want).Abs() > time.Second {
			t.Errorf("step %d: offset %s, want %s", i, got, c.want)
		}
	}
	s.heard(&http.Response{Header: http.Header{}})
	if s.serverTime().Sub(now) == 0 {
		t.Error("an answer without a date changed the offset")
	}
}

func TestRegistryURL(t *testing.T) {
	for _, c := range []struct{ server, registry, want string }{
		{"http://a:8080", "/registry/", "http://a:8080/registry/"},
		{"https://a/picket", "/registry/", "https://a/picket/registry/"},
		{"https://a", "https://mirror.example/r/", "https://mirror.example/r/"},
	} {
		got, err := Identity{Server: c.server, Registry: c.registry}.registryURL()
		if err != nil || got != c.want {
			t.Errorf("%s + %s = %s, %v", c.server, c.registry, got, err)
		}
	}
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 50 << 20: "50 MiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
