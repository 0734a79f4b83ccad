package intake_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/submission"
)

const guest = "\x00asm\x01\x00\x00\x00"

type bench struct {
	*registrytest.Registry
	author *registrytest.Author
	dir    string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	r := registrytest.NewRelease(t)
	return &bench{r, r.Claim(t, "acme"), filepath.Join(t.TempDir(), "intake")}
}

func (b *bench) open(t *testing.T, change func(*intake.Config)) *intake.Intake {
	t.Helper()
	k, err := publish.NewKeeper(publish.Config{Dir: b.Dir, Keys: b.Keys, Now: b.Now})
	if err != nil {
		t.Fatal(err)
	}
	cfg := intake.Config{Dir: b.dir, Now: b.Now, Registry: k}
	if change != nil {
		change(&cfg)
	}
	i, err := intake.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// pack is what the author does.
func (b *bench) pack(t *testing.T, p registrytest.Plugin, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	if keys == nil {
		keys = []ed25519.PrivateKey{b.author.Key}
	}
	if p.WASM == nil {
		p.WASM = []byte(guest)
	}
	var out bytes.Buffer
	b.Change(t, func(pub *publish.Publisher) error {
		ns, _, _ := strings.Cut(p.ID, "/")
		current, _, err := pub.NamespaceFile(ns)
		if err != nil {
			return err
		}
		return submission.Write(&out, submission.Request{RootSHA256: b.RootSHA256(t), Current: current, Keys: keys, Now: b.Now(), Release: p.Submission(t)})
	})
	return out.Bytes()
}

// wait follows a job to its end.
func wait(t *testing.T, i *intake.Intake, id string) intake.Job {
	t.Helper()
	for {
		job, ok := i.Job(id)
		if !ok {
			t.Fatal("the job is gone")
		}
		if job.State != intake.StateChecking {
			return job
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the job does not end")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (b *bench) releases(t *testing.T) []publish.ReleaseReport {
	t.Helper()
	report, err := publish.Verify(b.Dir, nil, b.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Releases {
		if r.Problem != "" {
			t.Errorf("%s %s: %s", r.ID, r.Version, r.Problem)
		}
	}
	return report.Releases
}

func TestAReleaseIsPublished(t *testing.T) {
	b := newBench(t)
	heard := make(chan string, 1)
	i := b.open(t, func(c *intake.Config) { c.Published = func(id, version string) { heard <- id + " " + version } })
	job, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent", Readme: []byte("hello")})))
	if err != nil {
		t.Fatal(err)
	}
	job = wait(t, i, job.ID)
	if job.State != intake.StatePublished || len(job.Gates) < 5 || <-heard != "acme/agent 1.0.0" {
		t.Errorf("%+v", job)
	}
	list := b.releases(t)
	if len(list) != 1 || list[0].Digest != job.Descriptor {
		t.Errorf("%+v", list)
	}
	index, err := os.ReadFile(filepath.Join(b.Dir, registry.IndexPath))
	if err == nil && !bytes.Contains(index, []byte(`"tier":"bronze"`)) {
		t.Errorf("the index does not have its tier: %s", index)
	}
	if left, err := os.ReadDir(filepath.Join(b.dir, "incoming")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestARefusedRelease(t *testing.T) {
	b := newBench(t)
	i := b.open(t, nil)
	job, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent", WASM: []byte("no guest")})))
	if err != nil {
		t.Fatal(err)
	}
	if job = wait(t, i, job.ID); job.State != intake.StateRefused || !strings.Contains(job.Problem, "WebAssembly") {
		t.Errorf("%+v", job)
	}
	if list := b.releases(t); len(list) != 0 {
		t.Errorf("published: %+v", list)
	}
	// The author mends it and hands it in under the same version, which was never taken.
	job, err = i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent"})))
	if err != nil {
		t.Fatal(err)
	}
	if job = wait(t, i, job.ID); job.State != intake.StatePublished {
		t.Errorf("%+v", job)
	}
}

func TestHTTP(t *testing.T) {
	b := newBench(t)
	i := b.open(t, nil)
	s := httptest.NewServer(i.Handler())
	defer s.Close()
	post := func(body io.Reader) (int, map[string]any) {
		t.Helper()
		res, err := http.Post(s.URL+"/v1/releases", intake.ContentType, body)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var v map[string]any
		if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, v
	}
	code, v := post(bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent"}, registrytest.NewKey(t))))
	if code != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(v["detail"]), "keys signed") {
		t.Errorf("a stranger: %d %v", code, v)
	}
	if code, v = post(strings.NewReader("hello")); code != http.StatusUnprocessableEntity {
		t.Errorf("no archive: %d %v", code, v)
	}
	old := b.pack(t, registrytest.Plugin{ID: "acme/agent"})
	if code, v = post(bytes.NewReader(old)); code != http.StatusAccepted {
		t.Fatalf("%d %v", code, v)
	}
	id := fmt.Sprint(v["job"])
	wait(t, i, id)
	res, err := http.Get(s.URL + "/v1/jobs/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var job intake.Job
	if err := json.NewDecoder(res.Body).Decode(&job); err != nil || job.State != intake.StatePublished {
		t.Errorf("%+v, %v", job, err)
	}
	if code, v = post(bytes.NewReader(old)); code != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(v["detail"]), "does not follow") {
		t.Errorf("the same again: %d %v", code, v)
	}
	if res, err := http.Get(s.URL + "/v1/jobs/" + strings.Repeat("0", 32)); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("a job that is none: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
}

// away is a registry that cannot be opened.
type away struct{ err error }

func (a away) Read(context.Context, func(publish.Reading) error) error      { return a.err }
func (a away) Change(context.Context, func(*publish.Publisher) error) error { return a.err }

// counted counts how often the registry is looked at.
type counted struct {
	intake.Registry
	n *int
}

func (c counted) Read(ctx context.Context, do func(publish.Reading) error) error {
	*c.n++
	return c.Registry.Read(ctx, do)
}

// What is wrong with the registry itself is not for strangers to read.
func TestTroubleAtHomeStaysThere(t *testing.T) {
	b := newBench(t)
	archive := b.pack(t, registrytest.Plugin{ID: "acme/agent"})
	i := b.open(t, func(c *intake.Config) {
		c.Registry = away{errors.New("open /secret/place: permission denied")}
	})
	w := httptest.NewRecorder()
	i.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/releases", bytes.NewReader(archive)))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// While the gates are at work others wait, and too many of them are sent away.
func TestABusyRegistry(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	i := b.open(t, func(c *intake.Config) {
		c.Gates.Test = func(ctx context.Context, _ gates.Release) ([]byte, error) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, errors.New("not now")
		}
	})
	var ids []string
	for n := 0; ; n++ {
		archive := b.pack(t, registrytest.Plugin{ID: "acme/agent", Version: fmt.Sprintf("1.%d.0", n)})
		job, err := i.Submit(t.Context(), bytes.NewReader(archive))
		if errors.Is(err, intake.ErrBusy) {
			break
		}
		if err != nil || n > 50 {
			t.Fatal(n, err)
		}
		ids = append(ids, job.ID)
	}
	if len(ids) > 8 { // of places for 16
		t.Errorf("one author has %d jobs", len(ids))
	}
	b.author = b.Claim(t, "zebra")
	other := b.pack(t, registrytest.Plugin{ID: "zebra/agent"})
	job, err := i.Submit(t.Context(), bytes.NewReader(other))
	if err != nil {
		t.Errorf("another author: %v", err)
	}
	close(release)
	if wait(t, i, job.ID).State != intake.StatePublished {
		t.Error("another author's release was not published")
	}
	published := 0
	for _, id := range ids {
		if wait(t, i, id).State == intake.StatePublished {
			published++
		}
	}
	if published != 1 || len(b.releases(t)) != 2 { // all were signed on top of the same state
		t.Errorf("%d of %d were published", published, len(ids))
	}
}

// Who has shown nothing yet cannot keep authors out, however many of them begin to send something.
func TestStrangersTakeNobodysPlace(t *testing.T) {
	b := newBench(t)
	i := b.open(t, nil)
	var strangers sync.WaitGroup
	defer strangers.Wait()
	for range 4 { // as many as may send at a time
		r, w := io.Pipe()
		defer w.Close()
		strangers.Go(func() {
			if _, err := i.Submit(t.Context(), r); err == nil {
				t.Error("nothing at all was taken in")
			}
		})
		if _, err := w.Write([]byte("intent.json")); err != nil { // returns once it is being read
			t.Fatal(err)
		}
	}
	if _, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent"}))); err != nil {
		t.Errorf("an author: %v", err)
	}
}

// However many strangers come, the registry is not read for each, and who was here before still gets in.
func TestStrangersDoNotKeepTheRegistryBusy(t *testing.T) {
	b := newBench(t)
	opened := 0
	i := b.open(t, func(c *intake.Config) { c.Registry = counted{c.Registry, &opened} })
	job, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent"})))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, i, job.ID)
	opened = 0
	next := registrytest.Plugin{ID: "acme/agent", Version: "1.1.0"}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := b.pack(t, next, stranger)
	for range 200 {
		if _, err := i.Submit(t.Context(), bytes.NewReader(forged)); err == nil {
			t.Fatal("a stranger's release was taken in")
		}
	}
	if opened > 100 { // 20, and one a second
		t.Errorf("the registry was read %d times for 200 strangers", opened)
	}
	if _, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, next))); err != nil {
		t.Errorf("an author: %v", err)
	}
}

// A registry that is stopped and started again knows what became of every job.
func TestRestart(t *testing.T) {
	b := newBench(t)
	blocked := make(chan struct{}, 1)
	i := b.open(t, func(c *intake.Config) {
		c.Gates.Test = func(ctx context.Context, _ gates.Release) ([]byte, error) {
			blocked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	job, err := i.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent"})))
	if err != nil {
		t.Fatal(err)
	}
	<-blocked
	i.Close()
	again := b.open(t, nil)
	if job = wait(t, again, job.ID); job.State != intake.StateRefused || !strings.Contains(job.Problem, "hand it in again") {
		t.Errorf("%+v", job)
	}
	job, err = again.Submit(t.Context(), bytes.NewReader(b.pack(t, registrytest.Plugin{ID: "acme/agent"})))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, again, job.ID)
	again.Close()
	// Died after it was published and before that was written down.
	path := filepath.Join(b.dir, "jobs", job.ID+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(`"published"`), []byte(`"checking"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	third := b.open(t, nil)
	if job = wait(t, third, job.ID); job.State != intake.StatePublished {
		t.Errorf("%+v", job)
	}
}

// Death at any step of a whole hand-in leaves the registry in order, and the job settled after a restart.
func TestHandInDiesAnywhere(t *testing.T) {
	died := errors.New("died here")
	b := newBench(t)
	archive := b.pack(t, registrytest.Plugin{ID: "acme/agent"})
	founded := os.DirFS(b.Dir)
	for at := 0; ; at++ {
		b.Dir, b.dir = filepath.Join(t.TempDir(), "registry"), filepath.Join(t.TempDir(), "intake")
		if err := os.CopyFS(b.Dir, founded); err != nil {
			t.Fatal(err)
		}
		i := b.open(t, nil)
		n := 0
		restore := durable.Intercept(func(durable.Op, string) error {
			if n++; n > at {
				return died
			}
			return nil
		})
		job, err := i.Submit(t.Context(), bytes.NewReader(archive))
		if err == nil {
			job = wait(t, i, job.ID)
		}
		restore()
		i.Close()
		if n <= at {
			t.Logf("%d steps", at)
			return
		}
		if len(b.releases(t)) > 1 {
			t.Fatal("published twice")
		}
		again := b.open(t, nil)
		if job.ID != "" {
			if known, ok := again.Job(job.ID); ok && (known.State == intake.StatePublished) != (len(b.releases(t)) == 1) {
				t.Fatalf("dead at step %d: the job is %s, %d releases", at, known.State, len(b.releases(t)))
			}
		}
		if len(b.releases(t)) == 0 {
			next, err := again.Submit(t.Context(), bytes.NewReader(archive))
			if err != nil {
				t.Fatalf("dead at step %d: the archive is not taken again: %v", at, err)
			}
			if next = wait(t, again, next.ID); next.State != intake.StatePublished {
				t.Fatalf("dead at step %d: %+v", at, next)
			}
		}
		again.Close()
	}
}
