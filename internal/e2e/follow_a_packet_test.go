package e2e

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestFollowAPacket is docs/follow-a-packet.md: a capture is uploaded, parsed by the worker, judged by signed
// detectors, and becomes alerts with evidence that a notifier delivers.
func TestFollowAPacket(t *testing.T) {
	s := startDev(t)
	s.ready(t, "picket/portscan")
	s.ready(t, "picket/beacon")

	// Someone wants to be told: the webhook plugin, granted its one address.
	told := make(chan struct{}, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		told <- struct{}{}
	}))
	defer hook.Close()
	s.call(t, http.MethodPost, "/api/v1/plugins/picket/webhook/enable", map[string]any{
		"node": "server", "config": map[string]any{"url": hook.URL}, "grants": "all",
	}, nil)
	s.ready(t, "picket/webhook")

	// The capture that --dev brings is analysed already; its alerts are set aside so that ours are new.
	waitFor(t, "the sample capture's alerts", func() bool { return len(s.alerts(t, "state=firing")) >= 2 })
	for _, a := range s.alerts(t, "state=firing") {
		s.call(t, http.MethodPost, "/api/v1/alerts/"+a.ID+"/resolve", nil, nil)
	}

	sample := filepath.Join(repoRoot(t), "examples/datasets/first-light/first-light.pcap")
	c := s.upload(t, sample)
	if c.State != "done" || c.Packets < 5000 {
		t.Fatalf("capture: %+v, want done with at least 5,000 packets", c)
	}

	// The two attacks that were recorded, and nothing else.
	var rules []string
	for _, a := range s.alerts(t, "state=firing") {
		rules = append(rules, a.Detector+" "+a.Src)
	}
	slices.Sort(rules)
	want := []string{"picket/beacon 10.77.0.22", "picket/portscan 10.77.0.66"}
	if !slices.Equal(rules, want) {
		t.Fatalf("alerts: %v, want %v", rules, want)
	}

	// Each names its evidence, down to packet numbers of the capture.
	for _, a := range s.alerts(t, "state=firing") {
		var detail struct {
			Evidence []struct {
				Capture string `json:"capture_id"`
				Packets []uint64
				Flows   []struct {
					CommunityID string `json:"community_id"`
				}
			}
			Techniques []string
			Confidence float64
		}
		s.get(t, "/api/v1/alerts/"+a.ID, &detail)
		if len(detail.Evidence) != 1 || detail.Evidence[0].Capture != c.ID || len(detail.Evidence[0].Packets) == 0 ||
			len(detail.Evidence[0].Flows) == 0 || detail.Evidence[0].Flows[0].CommunityID == "" {
			t.Fatalf("%s: evidence %+v, want packets and flows of the capture", a.Detector, detail.Evidence)
		}
		for _, p := range detail.Evidence[0].Packets {
			if p == 0 || p > c.Packets {
				t.Errorf("%s: packet %d is not in a capture of %d packets", a.Detector, p, c.Packets)
			}
		}
		if len(detail.Techniques) == 0 || detail.Confidence <= 0 {
			t.Errorf("%s: techniques %v, confidence %v", a.Detector, detail.Techniques, detail.Confidence)
		}
	}

	// The notifier was told of both, and the alert's page says so.
	for range want {
		select {
		case <-told:
		case <-time.After(patience):
			t.Fatal("the webhook was not called for each alert")
		}
	}
	for _, a := range s.alerts(t, "state=firing") {
		waitFor(t, "the notice of "+a.Detector+" to be delivered", func() bool {
			var detail struct {
				Notices []struct{ Notifier, State string }
			}
			s.get(t, "/api/v1/alerts/"+a.ID, &detail)
			return len(detail.Notices) == 1 && detail.Notices[0].State == "delivered"
		})
	}
}
