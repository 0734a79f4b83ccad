package client_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// restarted is a node whose process ended after it had seen a registry with authors.
type restarted struct {
	r    *registrytest.Registry
	acme *registrytest.Author
	base string
	at   func(*client.Config)
	dir  string
}

func newRestarted(t *testing.T) *restarted {
	t.Helper()
	s := &restarted{r: registrytest.New(t), dir: filepath.Join(t.TempDir(), "node")}
	s.r.Truth(t)
	s.acme = s.r.Claim(t, "acme")
	s.r.Confirm(t, "acme")
	s.r.Upload(t, s.acme, registrytest.Plugin{ID: "acme/agent"})
	s.base = s.r.Serve(t)
	s.at = func(cfg *client.Config) { cfg.Dir = s.dir }
	if err := s.node(t).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *restarted) node(t *testing.T) *client.Client {
	t.Helper()
	return node(t, s.r, s.base, s.at)
}

func (s *restarted) list(t *testing.T, c *client.Client) string {
	t.Helper()
	releases, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range releases {
		out = append(out, fmt.Sprintf("%s %s %s %s %v", r.ID, r.Version, r.Role, r.Via, r.Refused))
	}
	return strings.Join(out, "\n")
}

// After a restart a node knows the same; that it took what was kept for it shows in TestKeptViewIsNotBelieved.
func TestRestartKeepsWhatWasVerified(t *testing.T) {
	s := newRestarted(t)
	fresh := node(t, s.r, s.base)
	want := s.list(t, fresh)
	c := s.node(t)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.list(t, c); got != want {
		t.Errorf("after a restart:\n%s\nwant:\n%s", got, want)
	}
	install(t, c, "acme/agent", "")
	install(t, c, registrytest.Victim, "")
	if _, err := c.Install(t.Context(), "nobody/agent", "", process); err == nil {
		t.Error("a namespace that there is not was found")
	}
	s.r.Upload(t, s.acme, registrytest.Plugin{ID: "acme/agent", Version: "2.0.0"})
	if in := install(t, s.node(t), "acme/agent", ""); in.Version != "2.0.0" {
		t.Errorf("news was not seen: %s", in.Version)
	}
	s.r.Revoke(t, "acme/agent", "2.0.0", "it mines coins")
	_, err := s.node(t).Install(t.Context(), "acme/agent", "2.0.0", process)
	wantRefusal(t, err, registry.Revoked, "acme/agent")
}

// What was kept is not used when anything that it came from is different, and its dates are held against the clock.
func TestKeptViewIsNotBelieved(t *testing.T) {
	replace := func(old, replacement string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(replacement), 1) }
	}
	for name, change := range map[string]func([]byte) []byte{
		"cut short":           func(b []byte) []byte { return b[:len(b)/2] },
		"empty":               func([]byte) []byte { return nil },
		"no JSON":             func([]byte) []byte { return []byte("acme\nacme {}\n") },
		"of other rules":      replace(`"rules":`, `"rules":9`),
		"of another root":     replace(`"root":"`, `"root":"0`),
		"of another snapshot": replace(`"snapshot.json":"`, `"snapshot.json":"0`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newRestarted(t)
			var whole []byte
			s.edit(t, "view.json", func(b []byte) []byte { whole = bytes.Clone(b); return change(b) })
			c := s.node(t)
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			install(t, c, "acme/agent", "")
			s.edit(t, "view.json", func(b []byte) []byte {
				if !bytes.Equal(b, whole) {
					t.Error("it was used instead of being made anew")
				}
				return b
			})
		})
	}
	t.Run("renewed meanwhile", func(t *testing.T) {
		s := newRestarted(t)
		s.r.Advance(20 * time.Hour)
		s.r.Renew(t)
		install(t, s.node(t), "acme/agent", "")
	})
	t.Run("a damaged file of metadata", func(t *testing.T) {
		s := newRestarted(t)
		s.edit(t, "metadata/claimed.json", func(b []byte) []byte { return b[:len(b)/2] })
		wantRefusal(t, s.node(t).Refresh(t.Context()), registry.BadLocalState, "")
	})
	t.Run("the same state for ever", func(t *testing.T) {
		s := newRestarted(t)
		s.r.Advance(60 * 24 * time.Hour)
		wantRefusal(t, s.node(t).Refresh(t.Context()), registry.Expired, "")
	})
	t.Run("an author's file that the author did not sign", func(t *testing.T) {
		s := newRestarted(t)
		c := s.node(t)
		stranger := registrytest.NewKey(t)
		s.edit(t, "view.json", func(b []byte) []byte { // as if the namespace were the stranger's
			old := registry.KeyID(publicOf(s.acme.Key))
			return bytes.ReplaceAll(b, []byte(old), []byte(registry.KeyID(publicOf(stranger))))
		})
		_, err := c.Install(t.Context(), "acme/agent", "", process)
		wantRefusal(t, err, registry.BadSignature, "acme/agent")
	})
}

// A timestamp that was signed again for the same snapshot costs no look at the rest.
func TestARenewedTimestampIsAllThatIsRead(t *testing.T) {
	s := newRestarted(t)
	const mark = "zzz {\"via\":\"claimed\"}\n" // stays only in what is not made anew
	s.edit(t, "view.json", func(b []byte) []byte { return append(b, mark...) })
	marked := func(want bool) {
		t.Helper()
		s.edit(t, "view.json", func(b []byte) []byte {
			if bytes.Contains(b, []byte(mark)) != want {
				t.Errorf("read anew: %v", want)
			}
			return b
		})
	}
	running := s.node(t)
	for range 3 {
		s.r.Advance(5 * time.Hour) // too early for anything but the timestamp to be signed again
		s.r.Renew(t)
		for _, c := range []*client.Client{s.node(t), running} {
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			marked(true)
		}
	}
	install(t, running, "acme/agent", "")
	s.r.Upload(t, s.acme, registrytest.Plugin{ID: "acme/agent", Version: "2.0.0"})
	if in := install(t, s.node(t), "acme/agent", ""); in.Version != "2.0.0" {
		t.Errorf("news was not seen: %s", in.Version)
	}
	marked(false)
}

// A node that was there before refuses the same timestamps as one that reads everything.
func TestARenewedTimestampIsHeldAgainstTheOneBefore(t *testing.T) {
	t.Run("a stranger's", func(t *testing.T) {
		s := newRestarted(t)
		for _, l := range registrytest.Lies() {
			if l.Name == "a timestamp signed by somebody else" {
				s.r.Lie(t, l)
				wantRefusal(t, s.node(t).Refresh(t.Context()), l.Reason, "")
				return
			}
		}
		t.Fatal("nobody tells this lie any more")
	})
	t.Run("an older one", func(t *testing.T) {
		s := newRestarted(t)
		path := filepath.Join(s.r.Dir, "metadata", "timestamp.json")
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.r.Renew(t)
		if err := s.node(t).Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, old, 0o644); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, s.node(t).Refresh(t.Context()), registry.Rollback, "")
	})
	t.Run("one that is out of date", func(t *testing.T) {
		s := newRestarted(t)
		s.r.Renew(t)
		s.r.Advance(60 * 24 * time.Hour)
		wantRefusal(t, s.node(t).Refresh(t.Context()), registry.Expired, "")
	})
	t.Run("one of a registry that lost its newest state", func(t *testing.T) {
		s := newRestarted(t)
		copied := filepath.Join(t.TempDir(), "registry")
		if err := os.CopyFS(copied, os.DirFS(s.r.Dir)); err != nil {
			t.Fatal(err)
		}
		s.r.Upload(t, s.acme, registrytest.Plugin{ID: "acme/agent", Version: "2.0.0"})
		if err := s.node(t).Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.r.Dir = copied
		for range 3 { // its timestamps are newer, its snapshot is not
			s.r.Renew(t)
		}
		s.base = copied
		wantRefusal(t, s.node(t).Refresh(t.Context()), registry.Rollback, "")
	})
}

func (s *restarted) edit(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}
