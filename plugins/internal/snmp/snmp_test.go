package snmp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/plugins/internal/snmp/snmptest"
	"github.com/picketwatch/picket/sdk"
)

type dialer struct{}

func (dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func access(version string) snmp.Access { return snmp.Access{Version: version, Community: "lab"} }

func open(t *testing.T, a *snmptest.Agent, version string, timeout time.Duration) *snmp.Client {
	t.Helper()
	c, err := snmp.Open(t.Context(), dialer{}, a.Address, access(version), snmp.Options{Timeout: timeout, Retries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ports is a table of n rows in three columns, of which the last has a value in every third row.
func ports(n int) string {
	var out strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&out, "1.3.6.1.2.1.2.2.1.2.%d|4|port %d\n1.3.6.1.2.1.2.2.1.10.%d|65|%d\n", i, i, i, 4_000_000_000+i)
		if i%3 == 0 {
			fmt.Fprintf(&out, "1.3.6.1.2.1.31.1.1.1.6.%d|70|%d\n", i, uint64(1)<<60+uint64(i))
		}
	}
	return out.String() + "1.3.6.1.2.1.1.5.0|4|core\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9.1.1208\n"
}

var columns = []snmp.OID{"1.3.6.1.2.1.2.2.1.2", "1.3.6.1.2.1.2.2.1.10", "1.3.6.1.2.1.31.1.1.1.6"}

func TestWalk(t *testing.T) {
	for name, c := range map[string]struct {
		version string
		rows    int
		change  func(*snmptest.Agent)
		wide    bool // has numbers of 64 bits
	}{
		"version 1":             {"1", 40, nil, false},
		"version 2c":            {"2c", 3000, nil, true},
		"small answers":         {"2c", 200, func(a *snmptest.Agent) { a.Limit(150) }, true},
		"slow for many rows":    {"2c", 60, func(a *snmptest.Agent) { a.Slow(20 * time.Millisecond) }, true},
		"every ninth goes lost": {"2c", 500, func(a *snmptest.Agent) { a.Drop(func(n int) bool { return n%9 == 0 }) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := snmptest.New(t)
			a.Put(t, "lab", strings.NewReader(ports(c.rows)))
			if c.change != nil {
				c.change(a)
			}
			table, err := open(t, a, c.version, 200*time.Millisecond).Walk(0, columns...)
			if err != nil || len(table.Rows) != c.rows || table.Cut {
				t.Fatalf("%d rows, cut %v, %v", len(table.Rows), table.Cut, err)
			}
			for i := 1; i <= c.rows; i++ {
				row := table.Rows[fmt.Sprint(i)]
				low, _ := row[1].Uint()
				high, _ := row[2].Uint()
				if want := i%3 == 0 && c.wide; row[0].Text() != fmt.Sprintf("port %d", i) || low != 4_000_000_000+uint64(i) || want != (high == 1<<60+uint64(i)) || want != row[2].Is64() {
					t.Fatalf("row %d: %v", i, row)
				}
			}
		})
	}
}

// A table of thousands of rows takes few requests.
func TestWalkIsShort(t *testing.T) {
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(ports(3000)))
	a.Limit(1400)
	if _, err := open(t, a, "2c", time.Second).Walk(0, columns[:2]...); err != nil || a.Requests() > 150 {
		t.Errorf("%d requests, %v", a.Requests(), err)
	}
}

func TestWalkIsBounded(t *testing.T) {
	a := snmptest.New(t)
	a.Put(t, "lab", strings.NewReader(ports(300)))
	if table, err := open(t, a, "2c", time.Second).Walk(50, columns...); err != nil || len(table.Rows) != 50 || !table.Cut {
		t.Errorf("%d rows, cut %v, %v", len(table.Rows), table.Cut, err)
	}
}

func TestGet(t *testing.T) {
	for _, version := range []string{"1", "2c"} {
		a := snmptest.New(t)
		a.Put(t, "lab", strings.NewReader(ports(1)))
		have, err := open(t, a, version, time.Second).Get("1.3.6.1.2.1.1.5.0", "1.3.6.1.2.1.1.6.0", "1.3.6.1.2.1.1.2.0")
		if err != nil || len(have) != 2 || have["1.3.6.1.2.1.1.5.0"].Text() != "core" || have["1.3.6.1.2.1.1.2.0"].Object() != "1.3.6.1.4.1.9.1.1208" {
			t.Errorf("version %s: %v, %v", version, have, err)
		}
	}
}

func TestSilence(t *testing.T) {
	a := snmptest.New(t) // it has no device
	_, err := open(t, a, "2c", 20*time.Millisecond).Get("1.3.6.1.2.1.1.5.0")
	if !errors.Is(err, snmp.ErrSilent) || sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("%v", err)
	}
}

func TestAccess(t *testing.T) {
	v3 := snmp.Access{Version: "3", User: "u", AuthProtocol: "sha", AuthPassword: "longenough", PrivProtocol: "aes", PrivPassword: "longenough"}
	for name, c := range map[string]struct {
		change func(*snmp.Access)
		want   string
	}{
		"good":              {func(*snmp.Access) {}, ""},
		"no user":           {func(a *snmp.Access) { a.User = "" }, "user"},
		"privacy alone":     {func(a *snmp.Access) { a.AuthProtocol = "none" }, "priv_protocol"},
		"short":             {func(a *snmp.Access) { a.AuthPassword = "short" }, "auth_password"},
		"short for privacy": {func(a *snmp.Access) { a.PrivPassword = "short" }, "priv_password"},
		"no secret":         {func(a *snmp.Access) { a.PrivPassword = "" }, "priv_password"},
		"no community":      {func(a *snmp.Access) { *a = snmp.Access{Version: "2c"} }, "community"},
		"nothing is secured": {func(a *snmp.Access) {
			*a = snmp.Access{Version: "3", User: "u", AuthProtocol: "none", PrivProtocol: "none"}
		}, ""},
	} {
		a := v3
		c.change(&a)
		err := a.Validate()
		if err == nil {
			var client *snmp.Client
			if client, err = snmp.Open(t.Context(), dialer{}, "127.0.0.1:9", a, snmp.Options{Timeout: time.Second}); err == nil {
				client.Close()
			}
		}
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || sdk.ClassOf(err) != sdk.InvalidConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:161", "192.0.2.1:1161": "192.0.2.1:1161", "2001:db8::1": "[2001:db8::1]:161", "[2001:db8::1]": "[2001:db8::1]:161",
		"[2001:db8::1]:99": "[2001:db8::1]:99", "sw1.example.org": "sw1.example.org:161", "": "", "a b": "", ":5": "",
	} {
		if have, err := snmp.Address(in); have != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", in, have, err)
		}
	}
}

// FuzzAnswer gives the client any bytes as an answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x30\x29\x02\x01\x01\x04\x03lab\xa2\x1f\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x14\x30\x12\x06\x08\x2b\x06\x01\x02\x01\x01\x05\x00\x04\x06picket"), "2c")
	f.Add([]byte("\x30\x00"), "3")
	f.Fuzz(func(t *testing.T, answer []byte, version string) {
		if version != "1" && version != "3" {
			version = "2c"
		}
		a := snmp.Access{Version: version, Community: "lab", User: "u", AuthProtocol: "none", PrivProtocol: "none"}
		c, err := snmp.Open(t.Context(), echo{answer}, "192.0.2.1:161", a, snmp.Options{Timeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		values, _ := c.Get("1.3.6.1.2.1.1.5.0", "1.3.6.1.2.1.1.2.0")
		for _, v := range values {
			_, _, _, _ = v.Text(), v.Object(), v.IP(), v.MAC()
		}
		_, _ = c.Walk(10, columns...)
	})
}

// echo answers every request with the same bytes, a few times.
type echo struct{ answer []byte }

func (e echo) Dial(context.Context, string, string) (net.Conn, error) {
	return &echoing{answer: e.answer}, nil
}

type echoing struct {
	net.Conn
	answer []byte
	reads  int
}

func (e *echoing) Write(b []byte) (int, error) { return len(b), nil }
func (e *echoing) Close() error                { return nil }
func (e *echoing) SetDeadline(time.Time) error { return nil }
func (e *echoing) Read(b []byte) (int, error) {
	if e.reads++; e.reads%3 == 0 {
		return 0, context.DeadlineExceeded
	}
	return copy(b, e.answer), nil
}
