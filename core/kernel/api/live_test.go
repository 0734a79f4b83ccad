package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/picketwatch/picket/core/kernel/store"
)

// listener is one open live channel.
type listener struct {
	t    *testing.T
	conn *websocket.Conn
}

func (w *world) listen(t *testing.T, url, query string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, //nolint:bodyclose // of a channel that opened, the body is the channel
		url+"/api/v1/live"+query, &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + w.tokens[adm]}}})
	check(t, err)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &listener{t, conn}
}

func (l *listener) next() liveMessage {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := l.conn.Read(ctx)
	check(l.t, err)
	var m liveMessage
	check(l.t, json.Unmarshal(text, &m))
	return m
}

func TestLive(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w)
	defer srv.Close()
	live := w.cfg.Live
	waitClients := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); live.Clients() != n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d listeners, want %d", live.Clients(), n)
			}
		}
	}

	first := w.listen(t, srv.URL, "?topics=alerts,captures")
	waitClients(1)
	live.Publish(store.DefaultTenant, "samples", nil) // not wanted
	live.Publish(store.DefaultTenant, "alerts", map[string]string{"id": "a1"})
	m := first.next()
	if m.Topic != "alerts" || m.ID != "boot-2" {
		t.Fatalf("got %+v", m)
	}
	_ = first.conn.CloseNow()
	waitClients(0)
	live.Publish(store.DefaultTenant, "captures", nil)
	live.Publish(store.DefaultTenant, "devices", nil)

	again := w.listen(t, srv.URL, "?since="+m.ID)
	if a, b := again.next(), again.next(); a.Topic != "captures" || b.Topic != "devices" {
		t.Errorf("missed something: %+v, %+v", a, b)
	}
	for name, since := range map[string]string{"of an earlier run": "other-1", "nonsense": "x", "of the future": "boot-99999"} {
		if m := w.listen(t, srv.URL, "?since="+since).next(); m.Topic != "reset" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	for range ringMessages + 10 {
		live.Publish(store.DefaultTenant, "samples", nil)
	}
	if m := w.listen(t, srv.URL, "?since=boot-2").next(); m.Topic != "reset" {
		t.Errorf("too far back: %+v", m)
	}
	w.Close() // the server is being stopped: nobody is left waiting
	waitClients(0)
}

func TestLiveRefusesOtherSitesAndStrangers(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w)
	defer srv.Close()
	dial := func(h http.Header) int {
		_, resp, err := websocket.Dial(t.Context(), srv.URL+"/api/v1/live", &websocket.DialOptions{HTTPHeader: h}) //nolint:bodyclose // Dial has read it
		if err == nil {
			return http.StatusSwitchingProtocols
		}
		return resp.StatusCode
	}
	if code := dial(nil); code != 401 {
		t.Errorf("a stranger: %d", code)
	}
	bearer := "Bearer " + w.tokens[adm]
	if code := dial(http.Header{"Authorization": {bearer}, "Origin": {"https://evil.example"}}); code != 403 {
		t.Errorf("another site: %d", code)
	}
}

func TestTheRingIsBounded(t *testing.T) {
	l := NewLive("b", nil)
	for i := range 100 {
		l.Publish(store.DefaultTenant, "x", strings.Repeat("y", 100_000))
		if l.bytes > ringBytes {
			t.Fatalf("%d bytes after %d messages", l.bytes, i)
		}
	}
	msgs, last, complete, _ := l.after(99)
	if !complete || len(msgs) != 1 || last != 100 {
		t.Errorf("%d messages, last %d, complete %v", len(msgs), last, complete)
	}
	if _, _, complete, _ = l.after(1); complete {
		t.Error("what is gone counts as there")
	}
}

func TestNothingIsLostBetweenTwoReads(t *testing.T) {
	l := NewLive("b", nil)
	done := make(chan []uint64)
	go func() {
		var seen []uint64
		at := uint64(0)
		for len(seen) < 1000 {
			msgs, last, _, more := l.after(at)
			for _, m := range msgs {
				seen = append(seen, m.number)
			}
			at = last
			if len(seen) < 1000 && last < 1000 {
				<-more
			}
		}
		done <- seen
	}()
	for i := range 1000 {
		l.Publish(store.DefaultTenant, "x", i)
	}
	for i, n := range <-done {
		if n != uint64(i+1) {
			t.Fatal(fmt.Sprint("message ", i, " has number ", n))
		}
	}
}

func TestALiveChannelEndsWithTheRightToIt(t *testing.T) {
	w := newWorld(t)
	w.cfg.LivePing = 5 * time.Millisecond
	srv := httptest.NewServer(w)
	defer srv.Close()
	secret, token, err := w.cfg.Auth.CreateToken(t.Context(), "short", "SUP", "test", 0)
	check(t, err)
	keeps := w.listen(t, srv.URL, "")
	w.tokens[adm] = secret
	ends := w.listen(t, srv.URL, "")
	w.cfg.Live.Publish(store.DefaultTenant, "alerts", nil)
	keeps.next()
	ends.next()
	check(t, w.cfg.Auth.RevokeToken(t.Context(), token.Tenant, token.ID))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// Reading answers the pings, so nothing but the lost right ends the channel.
	if _, _, err := ends.conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the channel of a deleted token: %v", err)
	}
	go func() { time.Sleep(50 * time.Millisecond); w.cfg.Live.Publish(store.DefaultTenant, "alerts", nil) }()
	if m := keeps.next(); m.Topic != "alerts" {
		t.Errorf("the other channel: %+v", m)
	}
}
