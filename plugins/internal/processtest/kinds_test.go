package processtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// values keeps the last value of each metric.
type values struct {
	mu   sync.Mutex // guards last
	last map[string]float64
	came chan struct{}
}

func (v *values) Sample(s sdk.Sample) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[s.Metric] = s.Value
	select {
	case v.came <- struct{}{}:
	default:
	}
	return nil
}

func (v *values) of(metric string) float64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last[metric]
}

// A source that sends by itself.
func TestSyslog(t *testing.T) {
	port := plugintest.FreePort(t)
	inst := start(t, "collectors/syslog", fmt.Sprintf(`{"address": "127.0.0.1", "port": %d, "push": "100ms"}`, port), nil)
	got := &values{last: map[string]float64{}, came: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- inst.Watch(ctx, got) }()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer conn.Close()
			if _, err := io.WriteString(conn, "<34>1 - switch su - - - one\n<34>1 - switch su - - - two\n"); err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for end := time.After(30 * time.Second); got.of("syslog.messages") != 2; {
		select {
		case <-got.came:
		case <-end:
			t.Fatalf("%v messages", got.of("syslog.messages"))
		}
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

// Something elsewhere that is asked.
func TestProbe(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	inst := start(t, "collectors/probe", plugintest.JSON(t, map[string]any{"targets": []string{s.URL}}), nil)
	got := &values{last: map[string]float64{}}
	if err := inst.Collect(t.Context(), sdk.CollectRequest{Time: time.Now(), Interval: time.Minute}, got); err != nil {
		t.Fatal(err)
	}
	if got.of("probe.up") != 1 || got.of("probe.http.status_code") != 404 {
		t.Errorf("%v", got.last)
	}
}

// A lookup, of which nobody here answers: the error must come through with its class.
func TestRDNS(t *testing.T) {
	inst := start(t, "discovery/rdns", fmt.Sprintf(`{"server": "127.0.0.1:%d", "timeout": "100ms", "retries": 0}`, plugintest.FreePort(t)), nil)
	var got gathered
	if err := inst.Discover(t.Context(), scope("192.0.2.0/30"), &got); sdk.ClassOf(err) != sdk.Temporary || len(got.addresses) != 0 {
		t.Errorf("%v, %v", got.addresses, err)
	}
}

type found []sdk.Finding

func (f *found) Finding(one sdk.Finding) error {
	*f = append(*f, one)
	return nil
}

// A model.
func TestAnomaly(t *testing.T) {
	inst := start(t, "detectors/anomaly", `{}`, nil)
	f := sdktest.SampleFlows()[0]
	f.Proto, f.DstPort, f.FwdPackets, f.RevPackets, f.FwdPayload, f.RevPayload = sdk.ProtoUDP, 53, 4000, 4000, 900_000, 4_000_000
	var got found
	if err := inst.Inspect(t.Context(), "capture", records.AppendFlows(nil, []sdk.Flow{f}), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Rule != "unusual" {
		t.Errorf("%+v", got)
	}
}

// seen takes what an observer emits.
type seen struct {
	found
	sightings []sdk.Sighting
}

func (s *seen) Sighting(one sdk.Sighting) error {
	s.sightings = append(s.sightings, one)
	return nil
}

// Facts, of which devices are learned.
func TestPassive(t *testing.T) {
	inst := start(t, "discovery/passive", `{}`, nil)
	at := sdk.Seen{Packet: 7, Time: time.Unix(1000, 0).UTC()}
	frame := records.AppendFacts(nil, []sdk.Message{{Seen: at, Protocol: "lldp", Name: "announcement", Fields: map[string]string{"source": "02:00:00:00:00:01", "name": "sw1", "addrs": "192.0.2.9", "enabled": "4"}}})
	var got seen
	if err := inst.Inspect(t.Context(), "capture", frame, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.sightings) != 1 || got.sightings[0].Hostname != "sw1" || got.sightings[0].Source != "lldp" || got.sightings[0].Packet != 7 || got.sightings[0].Facts["role"] != "switch" {
		t.Errorf("%+v", got.sightings)
	}
	if err := inst.Flush(t.Context(), &got); err != nil {
		t.Error(err)
	}
}

// Facts, which are judged.
func TestSpoof(t *testing.T) {
	inst := start(t, "detectors/spoof", `{}`, nil)
	message := func(number uint64, operation, card string) sdk.ARP {
		return sdk.ARP{
			Seen: sdk.Seen{Packet: number, Time: time.Unix(int64(1000+100*number), 0).UTC()}, Protocol: "arp", Operation: operation, SenderMAC: card,
			SenderIP: netip.MustParseAddr("10.0.0.1"), TargetIP: netip.MustParseAddr("10.0.0.7"),
		}
	}
	var got found
	frame := records.AppendFacts(nil, []sdk.ARP{message(1, "request", "02:00:00:00:00:01"), message(2, "reply", "02:00:00:00:00:42")})
	if err := inst.Inspect(t.Context(), "capture", frame, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Rule != "takeover" || len(got[0].Packets) != 2 {
		t.Errorf("%+v", got)
	}
}

// A ticket, whose state comes back. The server is a double that knows just this one.
func TestTicket(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Private-Token") != "a-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		state := map[string]string{http.MethodPost: "opened", http.MethodGet: "closed"}[r.Method]
		_ = json.NewEncoder(w).Encode(map[string]any{"iid": 17, "state": state, "web_url": "https://git.example.org/a/b/-/issues/17", "closed_at": "2026-03-02T10:00:00Z"})
	}))
	defer s.Close()
	inst := start(t, "notifiers/ticket", plugintest.JSON(t, map[string]any{"system": "gitlab", "url": s.URL, "project": "a/b"}), map[string]string{"token": "a-token"})
	receipt, err := inst.Notify(t.Context(), sdk.Notice{ID: "n-1", Time: time.Now(), Event: "test", Title: "A test"})
	if err != nil || receipt.ForeignID != "a/b#17" {
		t.Fatalf("%+v, %v", receipt, err)
	}
	status, err := inst.Status(t.Context(), receipt)
	if err != nil || status.State != sdk.DeliveryClosed || status.Time.IsZero() {
		t.Errorf("%+v, %v", status, err)
	}
}

// An action, which is taken back. The firewall is a double that knows just this.
func TestBlock(t *testing.T) {
	var mu sync.Mutex
	blocked := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var in struct{ Address string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		switch action, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/firewall/alias_util/"), "/"); action {
		case "add":
			blocked[in.Address] = true
		case "delete":
			delete(blocked, in.Address)
		default:
			rows := []map[string]string{}
			for ip := range blocked {
				rows = append(rows, map[string]string{"ip": ip})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"total": len(rows), "rows": rows})
			return
		}
		_, _ = io.WriteString(w, `{"status": "done"}`)
	}))
	defer s.Close()
	inst := start(t, "notifiers/block", plugintest.JSON(t, map[string]any{"url": s.URL, "alias": "picket"}), map[string]string{"key": "a", "secret": "b"})
	receipt, err := inst.Notify(t.Context(), sdk.Notice{ID: "n-1", Time: time.Now(), Event: "alert.firing", Severity: sdk.SeverityHigh, Title: "x",
		Alert: &sdk.Finding{Rule: "x", Severity: sdk.SeverityHigh, Src: "10.0.0.66", Dst: "203.0.113.9:443"}})
	if err != nil || !receipt.Undoable || !blocked["203.0.113.9"] {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if err := inst.Undo(t.Context(), receipt); err != nil || len(blocked) != 0 {
		t.Errorf("%v; still blocked: %v", err, blocked)
	}
}
