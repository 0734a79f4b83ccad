package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/syslog") }

func TestConformance(t *testing.T) {
	text := fmt.Sprintf(`{"address": "127.0.0.1", "port": %d}`, plugintest.FreePort(t))
	sdktest.Run(t, Plugin(), sdktest.Options{
		Config:  []byte(text),
		NewHost: func(t *testing.T) sdk.Host { t.Helper(); return plugintest.NewHost(t, New(), text) },
	})
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want message
		err  error
	}{
		{`<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root' failed`, message{4, 2, "mymachine.example.com", "su"}, nil},
		{`<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - text`, message{20, 5, "192.0.2.1", "myproc"}, nil},
		{`<165>1 - - evntslog - ID47 [exampleSDID@32473 iut="3"] text`, message{20, 5, "", "evntslog"}, nil},
		{`<0>1 - - - - - -`, message{0, 0, "", ""}, nil},
		{`<34>Oct 11 22:14:15 mymachine su: 'su root' failed`, message{4, 2, "mymachine", "su"}, nil},
		{`<13>Feb  5 17:32:18 10.0.0.99 sshd[42]: hello`, message{1, 5, "10.0.0.99", "sshd"}, nil},
		{`<13>sshd[42]: no time and no host`, message{1, 5, "", "sshd"}, nil},
		{`<13>Feb  5 17:32:18 su: no host`, message{1, 5, "", "su"}, nil},
		{`<191>`, message{23, 7, "", ""}, nil},
		{`<13>just words`, message{1, 5, "", ""}, nil},
		{"<13>Feb  5 17:32:18 h\x01st app: x", message{1, 5, "", "app"}, nil},
		{`<192>1 - - - - - -`, message{}, errPriority},
		{`<013>x`, message{}, errPriority},
		{`<>x`, message{}, errPriority},
		{`<-1>x`, message{}, errPriority},
		{`<1x`, message{}, errPriority},
		{`hello`, message{}, errPriority},
		{``, message{}, errPriority},
		{`<13>1 - - -`, message{}, errHeader},
		{`<13>1 - - - - - x`, message{}, errHeader},
		{`<13>1 - ` + strings.Repeat("h", 300) + ` a - - -`, message{}, errHeader},
	} {
		got, err := parse([]byte(c.text))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: %+v, %v; want %+v, %v", c.text, got, err, c.want, c.err)
		}
	}
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, c := range []struct {
		what, stream string
		want         []string
	}{
		{"lines", "<1>a\n<2>b\r\n<3>c\x00", []string{"<1>a", "<2>b", "<3>c"}},
		{"the last line without its end", "<1>a\n<2>b", []string{"<1>a", "<2>b"}},
		{"stated lengths", "4 <1>a6 <2>b\nc", []string{"<1>a", "<2>b\nc"}},
		{"mixed", "4 <1>a<2>b\n4 <3>c", []string{"<1>a", "<2>b", "<3>c"}},
		{"empty lines", "\n\n<1>a\n\n", []string{"<1>a"}},
		{"a long line", "<1>a\n<2>" + long + "\n<3>c\n", []string{"<1>a", "too long", "<3>c"}},
		{"a long line at the end", "<2>" + long, []string{"too long"}},
		{"a long message of stated length", "600 " + long + "4 <1>a", []string{"too long", "<1>a"}},
		{"a length that is none", "4x <1>a", []string{"framing"}},
		{"a length beyond reason", "12345678901 <1>a", []string{"framing"}},
		{"a message that breaks off", "10 <1>a", nil},
	} {
		f := newFrames(strings.NewReader(c.stream), 480)
		var got []string
		for done := false; !done; {
			text, err := f.next()
			switch {
			case errors.Is(err, errTooLong):
				got = append(got, "too long")
			case errors.Is(err, errFraming):
				got, done = append(got, "framing"), true
			case err != nil:
				done = true
			default:
				got = append(got, string(text))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// readings keeps the last value of each series and tells when something came.
type readings struct {
	mu     sync.Mutex
	values map[string]float64
	came   chan struct{}
	block  chan struct{} // if set, Sample waits for it
}

func newReadings() *readings {
	return &readings{values: map[string]float64{}, came: make(chan struct{}, 1)}
}

func (r *readings) Sample(s sdk.Sample) error {
	if r.block != nil {
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[series(s)] = s.Value
	select {
	case r.came <- struct{}{}:
	default:
	}
	return nil
}

func series(s sdk.Sample) string {
	text := s.Metric
	for _, name := range []string{"syslog.facility", "syslog.severity", "syslog.host", "syslog.app", "network.transport", "syslog.drop.reason"} {
		if v, ok := s.Labels[name]; ok {
			text += " " + v
		}
	}
	return text
}

// until waits for a series to reach a value.
func (r *readings) until(t *testing.T, what string, want float64) {
	t.Helper()
	end := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		got := r.values[what]
		r.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-r.came:
		case <-end:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("%s is %v, want %v; all: %v", what, got, want, r.values)
		}
	}
}

// watch runs a collector that listens on this machine, until the end of the test.
func watch(t *testing.T, more string, sink sdk.SampleSink) (c *Collector, address string) {
	t.Helper()
	port := plugintest.FreePort(t)
	text := fmt.Sprintf(`{"address": "127.0.0.1", "port": %d, "push": "100ms"%s}`, port, more)
	c = New()
	plugintest.Start(t, c, text)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Watch(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v", err)
		}
	})
	return c, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// dial tries until the collector listens.
func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil && network == "udp" {
			conn.Close()
			conn, err = net.Dial("udp", address)
		}
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func send(t *testing.T, conn io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesAreCounted(t *testing.T) {
	got := newReadings()
	c, address := watch(t, `, "by": ["host"]`, got)
	tcp := dial(t, "tcp", address)
	send(t, tcp, "<34>1 - switch1 su - - - one\n<34>1 - switch1 su - - - two\n<13>Feb  5 17:32:18 switch2 sshd[42]: x\nrubbish\n")
	got.until(t, "syslog.messages auth crit switch1", 2)
	got.until(t, "syslog.messages user notice switch2", 1)
	got.until(t, "syslog.dropped unreadable", 1)
	udp := dial(t, "udp", address)
	send(t, udp, "<34>1 - switch1 su - - - three\n")
	got.until(t, "syslog.messages auth crit switch1", 3)
	got.until(t, "syslog.io udp", float64(len("<34>1 - switch1 su - - - three")))
	send(t, udp, "<34>1 - - - - - - "+strings.Repeat("x", 9000))
	got.until(t, "syslog.dropped too_long", 1)

	all := newReadings()
	if err := c.Collect(t.Context(), sdk.CollectRequest{}, all); err != nil {
		t.Fatal(err)
	}
	if all.values["syslog.messages auth crit switch1"] != 3 || all.values["syslog.dropped unreadable"] != 1 {
		t.Errorf("Collect gave %v", all.values)
	}
	if err := c.Health(t.Context()); err != nil {
		t.Errorf("Health: %v", err)
	}
}

func TestNamesAreBounded(t *testing.T) {
	got := newReadings()
	_, address := watch(t, `, "by": ["host", "app"], "max_names": 2`, got)
	tcp := dial(t, "tcp", address)
	for i := range 50 {
		send(t, tcp, fmt.Sprintf("<13>1 - host%d app - - - x\n", i))
	}
	got.until(t, "syslog.messages user notice other other", 48)
	got.until(t, "syslog.messages user notice host1 app", 1)
}

func TestConnectionsAreBounded(t *testing.T) {
	got := newReadings()
	_, address := watch(t, `, "max_connections": 1, "transports": ["tcp"]`, got)
	first := dial(t, "tcp", address)
	send(t, first, "<13>1 - h a - - - x\n")
	got.until(t, "syslog.messages user notice", 1)
	second := dial(t, "tcp", address)
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("the second connection was served")
	}
	got.until(t, "syslog.dropped refused", 1)
}

// A store that takes nothing holds up the readings, not the receiving.
func TestASlowStoreLosesNothing(t *testing.T) {
	got := newReadings()
	got.block = make(chan struct{})
	c, address := watch(t, `, "transports": ["tcp"]`, got)
	tcp := dial(t, "tcp", address)
	const n = 5000
	for range n {
		send(t, tcp, "<13>1 - h a - - - x\n")
	}
	k := key{Metric: metricMessages, Facility: "user", Severity: "notice"}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c.counts.mu.Lock()
		done := c.counts.value[k] == n
		c.counts.mu.Unlock()
		if done {
			break
		}
	}
	close(got.block)
	got.until(t, "syslog.messages user notice", n)
}

func TestAPortThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := New()
	plugintest.Start(t, c, fmt.Sprintf(`{"address": "127.0.0.1", "port": %d}`, l.Addr().(*net.TCPAddr).Port))
	err = c.Watch(t.Context(), newReadings())
	if sdk.ClassOf(err) != sdk.Temporary || c.Health(t.Context()) == nil {
		t.Errorf("Watch: %v, Health: %v", err, c.Health(t.Context()))
	}
}

func TestWhatIsNotGrantedIsDenied(t *testing.T) {
	c := New()
	plugintest.Start(t, c, `{"address": "127.0.0.1", "port": 5514}`)
	c.config.Port++
	if err := c.Watch(t.Context(), newReadings()); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("error %v", err)
	}
}

func TestSnapshot(t *testing.T) {
	c := New()
	plugintest.Start(t, c, `{"by": ["app"]}`)
	c.count([]byte("<34>1 - h su - - - x"), "udp")
	c.count([]byte("?"), "udp")
	state, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := New()
	plugintest.Start(t, next, `{"by": ["app"]}`)
	if err := next.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	next.count([]byte("<34>1 - h su - - - x"), "udp")
	got := newReadings()
	if err := next.Collect(t.Context(), sdk.CollectRequest{}, got); err != nil {
		t.Fatal(err)
	}
	if got.values["syslog.messages auth crit su"] != 2 || got.values["syslog.dropped unreadable"] != 1 {
		t.Errorf("%v", got.values)
	}
	for _, bad := range []string{"", "{", `{"version": 2}`} {
		if next.Restore(t.Context(), []byte(bad)) == nil {
			t.Errorf("%q was taken for a snapshot", bad)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{"address": "localhost"}`,
		`{"port": 0}`,
		`{"transports": []}`,
		`{"transports": ["udp", "udp"]}`,
		`{"by": ["user"]}`,
		`{"max_message": 10}`,
		`{"tls": true}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - text`))
	f.Add([]byte(`<34>Oct 11 22:14:15 mymachine su: 'su root' failed`))
	f.Add([]byte(`<191>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		if m.facility < 0 || m.facility >= len(facilities) || m.severity < 0 || m.severity >= len(severities) || len(m.host) > maxName || len(m.app) > maxName {
			t.Errorf("%q: %+v", b, m)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("<1>a\n4 <2>b\n"))
	f.Add([]byte("999999999 x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newFrames(strings.NewReader(string(b)), 480)
		total := 0
		for {
			text, err := in.next()
			if errors.Is(err, errTooLong) {
				continue
			}
			if err != nil {
				break
			}
			if total += len(text); len(text) > 480 || len(text) == 0 && len(b) == 0 {
				t.Fatalf("a message of %d bytes", len(text))
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of messages in %d", total, len(b))
		}
	})
}
