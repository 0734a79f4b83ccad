package e2e

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
)

// What an agent did not sign, or signed once already, stores nothing and is in the audit log.
func TestForgedAgentRequests(t *testing.T) {
	s := startDev(t)
	s.ready(t, "picket/host")
	var id struct {
		AgentID    string `json:"agent_id"`
		Bearer     string `json:"bearer"`
		PrivateKey []byte `json:"private_key"`
	}
	raw, err := os.ReadFile(filepath.Join(s.data, "agent/identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &id); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(id.PrivateKey)
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	batch := func(metric string, seq int) []byte {
		return fmt.Appendf(nil, `{"epoch":"forged","seq":%d,"samples":[{"metric":%q,"unit":"1","type":"gauge","time":%q,"value":1}]}`,
			seq, metric, time.Now().UTC().Format(time.RFC3339Nano))
	}
	request := func(body []byte) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/metrics", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+id.Bearer)
		return req
	}
	signed := func(body []byte, key ed25519.PrivateKey, at time.Time) *http.Request {
		req := request(body)
		if err := signing.SignRequest(req, body, key, id.AgentID, at); err != nil {
			t.Fatal(err)
		}
		return req
	}
	send := func(req *http.Request) int {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}

	// The genuine request is accepted, once.
	body := batch("genuine.metric", 1)
	genuine := signed(body, key, time.Now())
	again := genuine.Clone(t.Context())
	if code := send(genuine); code != http.StatusOK {
		t.Fatalf("a genuine request: %d, want 200", code)
	}
	again.Body = io.NopCloser(bytes.NewReader(body))

	altered := signed(batch("forged.altered", 2), key, time.Now())
	other := batch("forged.altered", 3)
	altered.Body, altered.ContentLength = io.NopCloser(bytes.NewReader(other)), int64(len(other))
	moved := signed(batch("forged.moved", 4), key, time.Now())
	moved.URL.Path = "/api/v1/sightings"
	noBearer := signed(batch("forged.bearer", 5), key, time.Now())
	noBearer.Header.Set("Authorization", "Bearer x"+id.Bearer)
	for name, req := range map[string]*http.Request{
		"unsigned":              request(batch("forged.unsigned", 6)),
		"altered":               altered,
		"replayed":              again,
		"signed by another key": signed(batch("forged.stranger", 7), stranger, time.Now()),
		"for another path":      moved,
		"signed yesterday":      signed(batch("forged.old", 8), key, time.Now().Add(-24*time.Hour)),
		"another bearer":        noBearer,
	} {
		if code := send(req); code != http.StatusUnauthorized && code != http.StatusForbidden {
			t.Errorf("%s: %d, want 401 or 403", name, code)
		}
	}

	var log struct {
		Items []struct{ Action, Outcome, Detail string }
	}
	if err := json.Unmarshal([]byte(s.audit(t)), &log); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, e := range log.Items {
		if strings.HasPrefix(e.Action, "agent.") && e.Outcome == "refused" {
			refused++
		}
	}
	if refused < 7 {
		t.Errorf("%d refused agent requests in the audit log, want 7:\n%s", refused, s.audit(t))
	}
	_, names := s.try(t, http.MethodGet, "/api/v1/metrics/names", nil)
	if strings.Contains(string(names), "forged.") {
		t.Errorf("a forged sample is stored: %s", names)
	}
	if n := s.points(t, "genuine.metric"); n != 1 {
		t.Errorf("the genuine sample is stored %d times, want once", n)
	}
}
