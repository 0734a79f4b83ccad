package server_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
	"github.com/picketwatch/picket/registry/submission"
)

// An author's archive is posted, and soon after that everybody finds the release.
func TestReleasesOverTheWire(t *testing.T) {
	r := registrytest.NewRelease(t)
	author := r.Claim(t, "acme")
	var archive bytes.Buffer
	r.Change(t, func(p *publish.Publisher) error {
		current, _, err := p.NamespaceFile("acme")
		if err != nil {
			return err
		}
		return submission.Write(&archive, submission.Request{RootSHA256: r.RootSHA256(t), Current: current, Keys: []ed25519.PrivateKey{author.Key},
			Now: r.Now(), Release: registrytest.Plugin{ID: "acme/agent", WASM: []byte("\x00asm\x01\x00\x00\x00")}.Submission(t)})
	})
	keeper, err := publish.NewKeeper(publish.Config{Dir: r.Dir, Keys: r.Keys, Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	in, err := intake.Open(t.Context(), intake.Config{Dir: filepath.Join(r.Dir, ".server", "intake"), Now: r.Now, Registry: keeper})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s, err := server.Open(server.Config{Dir: r.Dir, Intake: in})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s.Handler())
	defer web.Close()

	res, err := http.Post(web.URL+"/v1/releases", intake.ContentType, bytes.NewReader(archive.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var accepted struct{ Job string }
	if err := json.NewDecoder(res.Body).Decode(&accepted); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("%d, %v", res.StatusCode, err)
	}
	for {
		var job intake.Job
		res, err := http.Get(web.URL + "/v1/jobs/" + accepted.Job)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&job)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if job.State == intake.StatePublished {
			break
		}
		if job.State != intake.StateChecking {
			t.Fatalf("%+v", job)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	found, err := s.Search(t.Context(), server.Query{Text: "agent"})
	if err != nil || found.Total != 1 || found.Items[0].Tier != "bronze" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestARegistryWithoutIntakeSaysSo(t *testing.T) {
	r := registrytest.New(t)
	s, err := server.Open(server.Config{Dir: r.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/releases", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "takes no releases") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
