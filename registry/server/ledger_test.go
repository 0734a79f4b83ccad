package server_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
)

// nodes are machines that a registry knows.
type nodes map[string]ed25519.PublicKey

func (n nodes) enrol(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	key := registrytest.NewKey(tb)
	public := key.Public().(ed25519.PublicKey)
	n[registry.KeyID(public)] = public
	return key
}

func (n nodes) config(c *server.Config) {
	c.Nodes = func(id string) (ed25519.PublicKey, bool) { key, ok := n[id]; return key, ok }
}

// indexes are those that were read already, by folder: a thousand receipts are about the same release.
var indexes sync.Map

func indexOf(tb testing.TB, r *registrytest.Registry) *registry.Index {
	tb.Helper()
	if x, ok := indexes.Load(r.Dir); ok {
		return x.(*registry.Index)
	}
	x := r.Index(tb)
	indexes.Store(r.Dir, x)
	return x
}

// receipt is what an honest node would say now.
func receipt(tb testing.TB, r *registrytest.Registry, key ed25519.PrivateKey, change ...func(*registry.Receipt)) []byte {
	tb.Helper()
	x := indexOf(tb, r)
	says := registry.Receipt{RootSHA256: x.RootSHA256, ID: "acme/snmp", Version: "1.1.0", Action: registry.ActionInstalled, Time: r.Now()}
	p, _ := x.Find(says.ID)
	newest, _ := p.Release(says.Version)
	says.Descriptor = newest.Descriptor
	for _, c := range change {
		c(&says)
	}
	if err := says.Sign(key); err != nil {
		tb.Fatal(err)
	}
	data, err := says.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func review(tb testing.TB, r *registrytest.Registry, key ed25519.PrivateKey, stars int, text string) []byte {
	tb.Helper()
	x := indexOf(tb, r)
	p, _ := x.Find("acme/snmp")
	says := registry.Review{
		RootSHA256: x.RootSHA256, ID: p.ID, Version: "1.1.0", Descriptor: p.Releases[0].Descriptor, Stars: stars, Text: text, Time: r.Now(),
	}
	if err := says.Sign(key); err != nil {
		tb.Fatal(err)
	}
	data, err := says.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func counts(tb testing.TB, s *server.Server) (installs int, rating server.Rating) {
	tb.Helper()
	p, err := s.Plugin(tb.Context(), "acme/snmp", "")
	if err != nil {
		tb.Fatal(err)
	}
	return p.Installs, p.Rating
}

func TestReceiptsAndReviewsCount(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config)
	a, b := known.enrol(t), known.enrol(t)
	take := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	take(s.Receive(t.Context(), receipt(t, r, a)))
	take(s.Receive(t.Context(), receipt(t, r, b)))
	take(s.Review(t.Context(), review(t, r, a, 5, "Fine.")))
	take(s.Review(t.Context(), review(t, r, b, 2, "Slow.")))
	if n, rating := counts(t, s); n != 2 || rating.Count != 2 || rating.Stars != 3.5 {
		t.Errorf("%d installs, rating %+v", n, rating)
	}
	r.Advance(time.Minute)
	take(s.Review(t.Context(), review(t, r, b, 4, "Fixed.")))
	take(s.Receive(t.Context(), receipt(t, r, a, func(r *registry.Receipt) { r.Action = registry.ActionRemoved })))
	if n, rating := counts(t, s); n != 1 || rating.Count != 2 || rating.Stars != 4.5 {
		t.Errorf("%d installs, rating %+v", n, rating)
	}
	list, err := s.Reviews(t.Context(), "acme/snmp")
	if err != nil || len(list) != 2 || list[0].Text != "Fixed." {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestThousandForgedReceiptsChangeNothing: forged, repeated, replayed, of strangers, of the future, about what is not
// there: none of them moves a number.
func TestThousandForgedReceiptsChangeNothing(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config)
	honest, other, gone := known.enrol(t), known.enrol(t), known.enrol(t)
	first := receipt(t, r, honest)
	if err := s.Receive(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Minute)
	removed := receipt(t, r, gone, func(r *registry.Receipt) { r.Action = registry.ActionRemoved })
	installed := receipt(t, r, gone, func(r *registry.Receipt) { r.Time = r.Time.Add(-30 * time.Second) })
	for _, data := range [][]byte{installed, removed} {
		if err := s.Receive(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
	lines := journalSize(t, r)
	stranger := registrytest.NewKey(t)
	forgeries := map[string]func(n int) []byte{
		"repeated":                func(int) []byte { return first },
		"replayed after a remove": func(int) []byte { return installed },
		"of a stranger":           func(int) []byte { return receipt(t, r, stranger) },
		"in another's name": func(int) []byte {
			return bytes.ReplaceAll(receipt(t, r, stranger), keyID(stranger), keyID(other))
		},
		"with one bit changed": func(n int) []byte {
			data := receipt(t, r, other)
			i := bytes.Index(data, []byte(`"sig":"`)) + len(`"sig":"`) + n%100
			data[i] = "0123456789abcdef"[(bytes.IndexByte([]byte("0123456789abcdef"), data[i])+1)%16]
			return data
		},
		"of the future": func(n int) []byte {
			return receipt(t, r, other, func(r *registry.Receipt) { r.Time = r.Time.Add(time.Hour + time.Duration(n)*time.Minute) })
		},
		"for another registry": func(int) []byte {
			return receipt(t, r, other, func(r *registry.Receipt) { r.RootSHA256 = registry.Digest(nil) })
		},
		"about a release that is not there": func(int) []byte {
			return receipt(t, r, other, func(r *registry.Receipt) { r.Version = "3.0.0" })
		},
		"about other bytes": func(n int) []byte {
			return receipt(t, r, other, func(r *registry.Receipt) { r.Descriptor = registry.Digest([]byte{byte(n)}) })
		},
		"a review as a receipt": func(int) []byte { return review(t, r, honest, 5, "I am many.") },
	}
	for name, forge := range forgeries {
		for n := range 100 {
			if err := s.Receive(t.Context(), forge(n)); !errors.Is(err, server.ErrRefused) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for n := range 50 { // and reviews of those who have nothing installed, or are nobody
		for _, key := range []ed25519.PrivateKey{other, stranger} {
			if err := s.Review(t.Context(), review(t, r, key, 1+n%5, "Bad.")); !errors.Is(err, server.ErrRefused) {
				t.Fatal(err)
			}
		}
	}
	if n, rating := counts(t, s); n != 1 || rating.Count != 0 {
		t.Errorf("%d installs, rating %+v", n, rating)
	}
	if after := journalSize(t, r); after != lines {
		t.Errorf("the journal grew from %d to %d bytes", lines, after)
	}
}

func keyID(key ed25519.PrivateKey) []byte {
	return []byte(registry.KeyID(key.Public().(ed25519.PublicKey)))
}

func journal(r *registrytest.Registry) string {
	return filepath.Join(r.Dir, ".server", "journal.jsonl")
}

func journalSize(t *testing.T, r *registrytest.Registry) int64 {
	t.Helper()
	info, err := os.Stat(journal(r))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// What was answered is there after a restart; a line that a crash cut off is not, and does not get in the way.
func TestJournalSurvives(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config)
	for range 3 {
		if err := s.Receive(t.Context(), receipt(t, r, known.enrol(t))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(journal(r))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range 200 {
		torn := append(bytes.Clone(data), data[:cut]...)
		if err := os.WriteFile(journal(r), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := server.Open(server.Config{Dir: r.Dir, Now: r.Now})
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", cut, err)
		}
		n, _ := counts(t, s)
		if err := s.Close(); err != nil || n != 3 || journalSize(t, r) != int64(len(data)) {
			t.Fatalf("cut after %d bytes: %d installs, %v", cut, n, err)
		}
	}
	// A line in the middle that is damaged is not passed over in silence.
	if err := os.WriteFile(journal(r), append([]byte("{\n"), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := server.Open(server.Config{Dir: r.Dir, Now: r.Now}); err == nil {
		s.Close()
		t.Error("a damaged journal was opened")
	}
}

// What could not be written did not happen, and the next one can be.
func TestJournalOfAFullDisk(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config)
	key := known.enrol(t)
	restore := durable.Intercept(func(durable.Op, string) error { return errors.New("no space left on device") })
	err := s.Receive(t.Context(), receipt(t, r, key))
	restore()
	if err == nil || errors.Is(err, server.ErrRefused) {
		t.Errorf("on a full disk: %v", err)
	}
	if n, _ := counts(t, s); n != 0 {
		t.Errorf("%d installs", n)
	}
	if err := s.Receive(t.Context(), receipt(t, r, key)); err != nil {
		t.Error(err)
	}
	if n, _ := counts(t, s); n != 1 {
		t.Errorf("%d installs", n)
	}
}

func TestTwoServersOnOneFolder(t *testing.T) {
	r := real(t)
	open(t, r)
	if s, err := server.Open(server.Config{Dir: r.Dir}); err == nil {
		s.Close()
		t.Error("two servers write one journal")
	}
}

func TestPosting(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config)
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	post := func(path string, body []byte) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	key := known.enrol(t)
	report := func(reason, text string) []byte {
		return []byte(`{"id":"acme/snmp","version":"1.1.0","reason":"` + reason + `","text":"` + text + `"}`)
	}
	for _, c := range []struct {
		path string
		body []byte
		want int
	}{
		{"/v1/reviews", review(t, r, key, 5, "Early."), 403},
		{"/v1/receipts", receipt(t, r, key), 204},
		{"/v1/receipts", receipt(t, r, key), 409},
		{"/v1/reviews", review(t, r, key, 5, "Fine."), 204},
		{"/v1/receipts", receipt(t, r, registrytest.NewKey(t)), 403},
		{"/v1/receipts", []byte("{}"), 422},
		{"/v1/receipts", bytes.Repeat([]byte(" "), registry.MaxReceipt+1), 413},
		{"/v1/reports", report("malware", "It phones home.\u202e"), 204},
		{"/v1/reports", report("boredom", "Yawn."), 422},
		{"/v1/reports", report("spam", ""), 422},
		{"/v1/reports", []byte(`{"id":"acme/none","reason":"spam","text":"x"}`), 422},
		{"/v1/front", nil, 405},
	} {
		if got := post(c.path, c.body); got != c.want {
			t.Errorf("%s %.60s: %d, want %d", c.path, c.body, got, c.want)
		}
	}
	if got, err := server.ReadReports(r.Dir); err != nil || len(got) != 1 || got[0].Text != "It phones home." || got[0].Reason != "malware" {
		t.Errorf("reports in the folder: %+v, %v", got, err)
	}
	codes := map[int]int{}
	for range 60 {
		codes[post("/v1/receipts", []byte("{}"))]++
	}
	if codes[429] == 0 || codes[422] == 0 {
		t.Errorf("posting without end: %v", codes)
	}
}

func TestNodes(t *testing.T) {
	dir := t.TempDir()
	lookup := server.NodesOf(dir)
	key := registrytest.NewKey(t).Public().(ed25519.PublicKey)
	if _, ok := lookup(registry.KeyID(key)); ok {
		t.Error("knows a node of no list")
	}
	node := server.Node{Name: "edge-1", Key: hex.EncodeToString(key), Added: time.Now()}
	if err := server.WriteNodes(dir, []server.Node{node}); err != nil {
		t.Fatal(err)
	}
	if got, ok := lookup(registry.KeyID(key)); !ok || !got.Equal(key) {
		t.Error("does not know the node")
	}
	if err := server.WriteNodes(dir, nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := lookup(registry.KeyID(key)); ok {
		t.Error("still knows the node")
	}
	for name, list := range map[string][]server.Node{
		"no key": {{Name: "a", Key: "x"}}, "no name": {{Key: node.Key}}, "twice": {node, node},
	} {
		if err := server.WriteNodes(dir, list); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}
