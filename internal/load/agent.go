//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/sdk"
)

// agent is one of the fleet. Its samples tell which they are: the value is the number of the batch.
type agent struct {
	id, bearer string
	key        ed25519.PrivateKey
	series     int
	client     *http.Client
	base       string

	seq    uint64    // of the last batch that was acknowledged
	at     time.Time // of the samples of the one behind it
	book   uint32    // see samplebatch
	told   bool      // the server has the series in it
	config int64     // version that it has
}

// newAgent enrols. Agents come from several loopback addresses, because one has too few ports for all.
func newAgent(ctx context.Context, s *server, admin *http.Client, number, series int) (*agent, error) {
	local := &net.TCPAddr{IP: net.IPv4(127, 1, byte(number>>8), byte(number))}
	dialer := &net.Dialer{LocalAddr: local, Timeout: 10 * time.Second}
	a := &agent{series: series, book: rand.Uint32(), base: "http://" + s.address, config: -1, client: &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 1}}}
	var token struct{ Token string }
	if err := s.call(ctx, admin, http.MethodPost, "/api/v1/agents/tokens", map[string]string{"expires_in": "1h"}, &token); err != nil {
		return nil, err
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	a.key = key
	var reply struct {
		AgentID string `json:"agent_id"`
		Bearer  string `json:"bearer"`
	}
	err = s.call(ctx, admin, http.MethodPost, "/api/v1/enrol", map[string]any{"token": token.Token, "name": fmt.Sprintf("load-%05d", number),
		"public_key": base64.StdEncoding.EncodeToString(public), "os": "linux", "arch": "amd64", "version": "0.1.0"}, &reply)
	a.id, a.bearer = reply.AgentID, reply.Bearer
	return a, err
}

// answer is what came back of a signed request.
type answer struct {
	status int
	retry  time.Duration
	body   []byte
	took   time.Duration
}

func (a *agent) call(ctx context.Context, method, path, query, kind string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	u := a.base + path
	if query != "" {
		u += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+a.bearer)
	if len(body) > 0 {
		req.Header.Set("Content-Type", kind)
	}
	if err := signing.SignRequest(req, body, a.key, a.id, time.Now()); err != nil {
		return answer{}, err
	}
	began := time.Now()
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return answer{resp.StatusCode, time.Duration(seconds) * time.Second, data, time.Since(began)}, err
}

// batch writes the next one, as the agent's queue keeps it: what was not acknowledged goes out again as it was. The series are
// described until the server has them.
func (a *agent) batch(asJSON bool) ([]byte, error) {
	if asJSON {
		return a.jsonBatch(), nil
	}
	m := samplebatch.Message{Seq: a.seq + 1, Book: a.book, Rows: make([]samplebatch.Row, a.series)}
	for i := range m.Rows {
		m.Rows[i] = samplebatch.Row{Series: i, Micros: a.at.UnixMicro(), Value: float64(a.seq + 1)}
	}
	if a.told {
		m.Known = a.series
		return m.Pack()
	}
	m.Epoch = "load"
	for i := range a.series {
		m.Series = append(m.Series, samplebatch.Series{Metric: fmt.Sprintf("load.metric.m%02d", i%10), Unit: "1", Type: sdk.Gauge,
			Labels: map[string]string{"unit": fmt.Sprint("u", i/10)}})
	}
	return m.Pack()
}

func (a *agent) jsonBatch() []byte {
	b := strconv.AppendUint([]byte(`{"epoch":"load","seq":`), a.seq+1, 10)
	b = append(b, `,"samples":[`...)
	at := a.at.UTC().Format(time.RFC3339Nano)
	for i := range a.series {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"metric":"load.metric.m%02d","unit":"1","type":"gauge","time":"%s","value":%d,"labels":{"unit":"u%d"}}`, i%10, at, a.seq+1, i/10)
	}
	return append(b, "]}"...)
}

// figures is what a fleet counts.
type figures struct {
	acked, refused, repeated, failed, polls, reports atomic.Uint64 // batches, requests
	acks                                             latencies
}

// work lives an agent's life until ctx ends. pace is how many batches it sends in the time of one.
func (a *agent) work(ctx context.Context, o options, f *figures, pace *atomic.Int64) {
	done := make(chan struct{}, 2)
	go func() { a.poll(ctx, f); done <- struct{}{} }()
	go func() { a.report(ctx, f); done <- struct{}{} }()
	a.send(ctx, o, f, pace)
	<-done
	<-done
	a.client.CloseIdleConnections()
}

func (a *agent) send(ctx context.Context, o options, f *figures, pace *atomic.Int64) {
	if !sleep(ctx, rand.N(o.Every)) {
		return
	}
	for next := time.Now(); ; {
		a.at = time.Now()
		for try := 0; ; try++ {
			path, kind := "/api/v1/agent/samples", samplebatch.ContentType
			if o.JSON {
				path, kind = "/api/v1/metrics", "application/json"
			}
			body, err := a.batch(o.JSON)
			if err != nil {
				panic(err) // the zstd library has refused to start
			}
			ans, err := a.call(ctx, http.MethodPost, path, "", kind, body)
			if ctx.Err() != nil && (err != nil || ans.status != http.StatusOK) {
				return // whether it was stored is not known; the next batch would say
			}
			if err == nil && ans.status == http.StatusOK {
				a.seq++
				a.told = true
				f.acked.Add(1)
				f.acks.add(ans.took)
				break
			}
			wait := time.Second << min(try, 5)
			switch {
			case err == nil && (ans.status == http.StatusTooManyRequests || ans.status == http.StatusServiceUnavailable):
				f.refused.Add(1)
				wait = max(wait, ans.retry)
			case err == nil && ans.status == http.StatusConflict: // the server was started anew
				a.told, wait = false, 0
			default:
				f.failed.Add(1)
			}
			f.repeated.Add(1)
			if !sleep(ctx, wait/2+rand.N(wait+1)) {
				return
			}
		}
		next = next.Add(o.Every / time.Duration(pace.Load()))
		if late := time.Since(next); late > 0 {
			next = next.Add(late) // a queue would send the rest at once; the load is what was asked for
		}
		if !sleep(ctx, time.Until(next)) {
			return
		}
	}
}

// poll waits for orders as picket-agent does.
func (a *agent) poll(ctx context.Context, f *figures) {
	if !sleep(ctx, rand.N(10*time.Second)) {
		return
	}
	for {
		ans, err := a.call(ctx, http.MethodGet, "/api/v1/agent/poll", url.Values{"wait": {"30s"}, "have": {strconv.FormatInt(a.config, 10)}}.Encode(), "", nil)
		if ctx.Err() != nil {
			return
		}
		pause := rand.N(200 * time.Millisecond)
		var said struct {
			Config *struct{ Version int64 } `json:"config"`
			Again  float64                  `json:"again_seconds"`
		}
		switch {
		case err != nil || ans.status > 299:
			f.failed.Add(1)
			pause += 5 * time.Second
		case json.Unmarshal(ans.body, &said) == nil:
			f.polls.Add(1)
			if said.Config != nil {
				a.config = said.Config.Version
			}
			pause += time.Duration(said.Again * float64(time.Second))
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// report says how it is, with as much as an agent with two plugins says.
func (a *agent) report(ctx context.Context, f *figures) {
	body := []byte(`{"version":"0.1.0","agent_id":"` + a.id + `","plugins":[],"processes":{},"padding":"` + string(bytes.Repeat([]byte("x"), 4000)) + `"}`)
	for wait := rand.N(time.Minute); sleep(ctx, wait); {
		var said struct {
			Again float64 `json:"again_seconds"`
		}
		ans, err := a.call(ctx, http.MethodPost, "/api/v1/agent/status", "", "application/json", body)
		if err != nil || json.Unmarshal(ans.body, &said) != nil || said.Again == 0 {
			if ctx.Err() == nil {
				f.failed.Add(1)
			}
			said.Again = 15
		}
		f.reports.Add(1)
		wait = time.Duration((0.9 + rand.Float64()/5) * said.Again * float64(time.Second))
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
