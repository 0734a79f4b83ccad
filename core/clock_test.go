package core

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/sdk"
)

// movable is a clock that can be set.
type movable struct{ ahead atomic.Int64 }

func (m *movable) Now() time.Time          { return time.Now().Add(time.Duration(m.ahead.Load())) }
func (m *movable) set(ahead time.Duration) { m.ahead.Store(int64(ahead)) }

// sender is an agent with a clock of its own. As picket-agent does, it signs by the time that the server last told it, and sends a
// batch again until it is taken.
type sender struct {
	*running
	clock      *movable
	theirs     *movable // the server's
	id, bearer string
	key        ed25519.PrivateKey
	offset     time.Duration // of the server's clock
	batch      samplebatch.Message
	stored     map[int64]int // how often a time should be stored
}

func (r *running) sender(clock, theirs *movable) *sender {
	r.t.Helper()
	admin := r.admin()
	var made struct{ Token string }
	status, text := r.call(http.MethodPost, "/api/v1/agents/tokens", admin, `{"name":"clock"}`)
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated && status != http.StatusOK {
		r.t.Fatal(status, text)
	}
	public, key, err := ed25519.GenerateKey(nil)
	check(r.t, err)
	body, err := json.Marshal(map[string]string{"token": made.Token, "name": "clock", "public_key": base64.StdEncoding.EncodeToString(public),
		"os": "linux", "arch": "amd64", "version": "0.1.0"})
	check(r.t, err)
	status, text = r.call(http.MethodPost, "/api/v1/enrol", "", string(body))
	var told struct {
		AgentID string `json:"agent_id"`
		Bearer  string `json:"bearer"`
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil || told.Bearer == "" {
		r.t.Fatal(status, text)
	}
	return &sender{running: r, clock: clock, theirs: theirs, id: told.AgentID, bearer: told.Bearer, key: key, stored: map[int64]int{},
		batch: samplebatch.Message{Epoch: "e", Series: []samplebatch.Series{{Metric: "clock.test", Unit: "1", Type: sdk.Gauge}}}}
}

// post sends the batch as it is, once.
func (s *sender) post() (int, string) {
	s.t.Helper()
	data, err := s.batch.Pack()
	check(s.t, err)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL()+"/api/v1/agent/samples", bytes.NewReader(data))
	check(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.bearer)
	req.Header.Set("Content-Type", samplebatch.ContentType)
	check(s.t, signing.SignRequest(req, data, s.key, s.id, s.clock.Now().Add(s.offset)))
	resp, err := http.DefaultClient.Do(req)
	check(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(s.t, err)
	s.offset = s.theirs.Now().Sub(s.clock.Now()) // as Date would say, which net/http takes from this machine's clock
	return resp.StatusCode, string(text)
}

// measure sends a batch of one sample, twice: an answer may be lost. accepted says whether the sample is to be stored.
func (s *sender) measure(accepted bool) {
	s.t.Helper()
	at := s.clock.Now().UnixMicro()
	s.batch.Seq++
	s.batch.Rows = []samplebatch.Row{{Series: 0, Micros: at, Value: float64(s.batch.Seq)}}
	repeated := s.telemetry.Stats().Duplicates
	if accepted {
		s.stored[at/1000]++
		repeated++
	}
	for range 2 {
		var status int
		var text string
		s.wait(fmt.Sprintf("batch %d to be taken", s.batch.Seq), func() bool {
			status, text = s.post()
			if status == http.StatusServiceUnavailable { // told to come again: time goes by
				s.clock.ahead.Add(int64(10 * time.Second))
				s.theirs.ahead.Add(int64(10 * time.Second))
			}
			return status == http.StatusOK
		})
		var told struct {
			Accepted, Refused int
			StoredThrough     uint64 `json:"stored_through"`
		}
		check(s.t, json.Unmarshal([]byte(text), &told))
		if told.StoredThrough < s.batch.Seq || (told.Accepted == 1) != accepted || (told.Refused == 1) == accepted {
			s.t.Errorf("batch %d: %s", s.batch.Seq, text)
		}
	}
	if got := s.telemetry.Stats().Duplicates; got != repeated {
		s.t.Errorf("batch %d: %d samples were repeated until now, want %d", s.batch.Seq, got, repeated)
	}
}

// A clock that is a day off, at the agent or the server, and put right while both work, stops nothing: what is of the past is stored
// where it belongs, what lies ahead is refused and counted, and nothing is stored twice.
func TestClocksThatJump(t *testing.T) {
	const day = 24 * time.Hour
	server, agent := &movable{}, &movable{}
	dir := t.TempDir()
	r := start(t, Config{Settings: settings(dir), Programs: programs(t, nil), Now: server.Now})
	s := r.sender(agent, server)
	for _, step := range []struct {
		name          string
		server, agent time.Duration
		accepted      bool
	}{
		{"both right", 0, 0, true},
		{"the agent a day behind", 0, -day, true},
		{"the agent right again", 0, 0, true},
		{"the agent a day ahead", 0, day, false},
		{"the agent right again", 0, 0, true},
		{"the server a day ahead", day, 0, true},
		{"the agent too", day, day, true},
		{"both right again", 0, 0, true},
		{"the server a day behind", -day, 0, false},
		{"the server right again", 0, 0, true},
	} {
		t.Log(step.name)
		server.set(step.server)
		agent.set(step.agent)
		s.measure(step.accepted)
		s.measure(step.accepted)
	}
	check(t, r.stop())
	server.set(-day)
	agent.set(-day)
	r = start(t, Config{Settings: settings(dir), Programs: programs(t, nil), Now: server.Now})
	s.running = r
	t.Log("both a day behind, after a restart")
	s.measure(true)

	status, text := r.call(http.MethodGet, "/prometheus/api/v1/query?query=clock_test_ratio%5B4d%5D&time="+fmt.Sprint(time.Now().Add(2*day).Unix()), r.admin(), "")
	var told struct {
		Data struct{ Result []struct{ Values [][2]any } }
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil || status != http.StatusOK || len(told.Data.Result) != 1 {
		t.Fatal(status, text, err)
	}
	have := told.Data.Result[0].Values
	for _, v := range have {
		s.stored[int64(v[0].(float64)*1000+0.5)]--
	}
	for at, n := range s.stored {
		if n != 0 {
			t.Errorf("%s: %d stored too few", time.UnixMilli(at), n)
		}
	}
	t.Logf("%d of %d batches are stored, each once; what the others held lay ahead", len(have), s.batch.Seq)
}
