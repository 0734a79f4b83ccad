package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

const agent = "acme/agent"

// drill is a registry with a confirmed author, and a node of before the theft.
type drill struct {
	r      *registrytest.Registry
	author *registrytest.Author
	nodeAt func(*client.Config) // the same node, whatever registry it is shown
	dir    string
}

func startDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{r: registrytest.NewRelease(t), dir: filepath.Join(t.TempDir(), "node")}
	d.r.Truth(t)
	d.author = d.r.Claim(t, "acme")
	d.r.Confirm(t, "acme")
	d.r.Upload(t, d.author, registrytest.Plugin{ID: agent})
	d.nodeAt = func(cfg *client.Config) { cfg.Dir = d.dir }
	install(t, node(t, d.r, d.r.Dir, d.nodeAt), other, "")
	return d
}

// victims says what a thief of a role's key would have nodes install.
func victims(role string) (id, version string) {
	switch role {
	case "ns-acme":
		return agent, "66.6.6"
	case "claimed", "recent":
		return agent, ""
	case "official":
		return victim, "66.6.6"
	}
	return victim, ""
}

// A key of each role is stolen. The thief's word counts until the key is replaced, which shows that the theft is one;
// afterwards a node that knew the old state follows to the new one, refuses the thief, and so does a new node.
func TestStolenKeyOfEveryRole(t *testing.T) {
	for _, role := range []string{"root", "targets", "security", "revokers", "official", "claimed", "recent", "ns-acme", "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			d := startDrill(t)
			stolen := d.author.Key
			if role != "ns-acme" {
				stolen = d.r.KeyOf(t, role)
			}
			if slices.Contains([]string{"security", "snapshot", "timestamp", "official", "ns-acme"}, role) { // one key is enough to be believed
				thief := d.r.Thief(t, stolen)
				thief.Strike(t, role)
				if err := node(t, d.r, thief.Dir, func(cfg *client.Config) { cfg.Dir = filepath.Join(t.TempDir(), "gullible") }).Refresh(t.Context()); err != nil {
					t.Fatalf("the thief is not believed before the rotation, so the drill shows nothing: %v", err)
				}
			}
			if role == "ns-acme" {
				d.r.NewKeys(t, d.author, false, nil)
			} else {
				d.r.Rotate(t, role)
			}
			id, version := victims(role)
			thief := d.r.Thief(t, stolen)
			thief.Strike(t, role)
			newDir := filepath.Join(t.TempDir(), "new")
			nodes := map[string]func(*client.Config){"a node of before": d.nodeAt, "a new node": func(cfg *client.Config) { cfg.Dir = newDir }}
			for name, at := range nodes {
				install(t, node(t, d.r, d.r.Dir, at), victim, "") // follows
				_, err := node(t, d.r, thief.Dir, at).Install(t.Context(), id, version, process)
				var no *registry.Refusal
				if role == "recent" && err == nil {
					continue // acme is confirmed, so recent has no say in it
				}
				if !errors.As(err, &no) || no.Reason != registry.BadSignature {
					t.Errorf("%s: the thief's %s was not refused for its signature: %v", name, id, err)
				}
			}
			// The thief stood in the server too, so its keys go as well; then the true registry works for everybody again.
			d.r.Rotate(t, "snapshot")
			d.r.Rotate(t, "timestamp")
			for _, at := range nodes {
				c := node(t, d.r, d.r.Dir, at)
				install(t, c, victim, "")
				install(t, c, agent, "")
				open(t, c, agent, process)
			}
		})
	}
}

// A lost key is replaced without it: the threshold of the others is enough, or the role above says so.
func TestLostKeyOfEveryRole(t *testing.T) {
	for _, role := range []string{"root", "targets", "security", "revokers", "official", "claimed", "recent", "ns-acme", "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			d := startDrill(t)
			if role == "ns-acme" {
				d.r.NewKeys(t, d.author, true, nil)
			} else {
				lost := registry.KeyID(publicOf(d.r.KeyOf(t, role)))
				removeKey(t, d.r, lost)
				next, err := publish.NewKey(filepath.Join(d.r.Keys, "replacement.pem"), nil)
				if err != nil {
					t.Fatal(err)
				}
				d.r.Change(t, func(p *publish.Publisher) error {
					return p.Rotate(role, publish.KeyChange{Remove: []string{lost}, Add: []publicKey{next}})
				})
			}
			c := node(t, d.r, d.r.Dir, d.nodeAt)
			install(t, c, victim, "")
			install(t, c, agent, "")
			d.r.Revoke(t, victim, "*", "It leaks.")
			d.r.Publish(t, registrytest.Plugin{ID: "picket/third"})
			d.r.Upload(t, d.author, registrytest.Plugin{ID: agent, Version: "1.1.0"})
			d.r.Advance(36 * time.Hour)
			d.r.Renew(t)
			install(t, c, "picket/third", "")
			install(t, c, agent, "1.1.0")
			_, err := c.OpenVerified(t.Context(), victim, process)
			wantRefusal(t, err, registry.Revoked, victim)
		})
	}
}

// A node that slept through several rotations follows them one by one.
func TestNodeThatSleptFollowsManyRoots(t *testing.T) {
	d := startDrill(t)
	for _, role := range []string{"timestamp", "root", "snapshot", "root", "targets", "root", "timestamp"} {
		d.r.Rotate(t, role)
	}
	c := node(t, d.r, d.r.Dir, d.nodeAt)
	install(t, c, victim, "")
	if v := c.Status().RootVersion; v != 8 {
		t.Errorf("root version %d", v)
	}
}

// A thief of the online keys signed versions so high that the true ones look like a rollback. After the keys have been
// replaced nodes forget what those keys said; which of the two was replaced does not matter.
func TestFastForwardRecovery(t *testing.T) {
	for _, rotated := range []string{"timestamp", "snapshot"} {
		t.Run(rotated, func(t *testing.T) {
			t.Parallel()
			d := startDrill(t)
			thief := d.r.Thief(t, d.r.KeyOf(t, "timestamp"))
			thief.FastForward(t)
			if err := node(t, d.r, thief.Dir, d.nodeAt).Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, node(t, d.r, d.r.Dir, d.nodeAt).Refresh(t.Context()), registry.Rollback, "")
			d.r.Rotate(t, rotated)
			install(t, node(t, d.r, d.r.Dir, d.nodeAt), victim, "")
			// What it learns from now on it remembers as before.
			old := t.TempDir()
			if err := os.CopyFS(old, os.DirFS(d.r.Dir)); err != nil {
				t.Fatal(err)
			}
			d.r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
			if err := node(t, d.r, d.r.Dir, d.nodeAt).Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, node(t, d.r, old, d.nodeAt).Refresh(t.Context()), registry.Rollback, "")
		})
	}
}

// An author's key is stolen and signs a release, which a node installs. The maintainers withdraw what the key signed
// after a moment; the release of before stays installable under the author's new key and keeps running.
func TestStolenAuthorKeyIsRevoked(t *testing.T) {
	d := startDrill(t)
	good := install(t, node(t, d.r, d.r.Dir, d.nodeAt), agent, "1.0.0")
	stolen := registry.KeyID(publicOf(d.author.Key))
	moment := d.r.Now()
	d.r.Advance(time.Hour)
	thief := *d.author
	d.r.Upload(t, &thief, registrytest.Plugin{ID: agent, Version: "1.0.1", Process: []byte("a back door")})
	infected := filepath.Join(t.TempDir(), "infected")
	at := func(cfg *client.Config) { cfg.Dir = infected }
	install(t, node(t, d.r, d.r.Dir, at), agent, "")

	d.r.NewKeys(t, d.author, true, func(_, version, _ string) bool { return version == "1.0.0" })
	d.r.Change(t, func(p *publish.Publisher) error {
		rev, kept, gone, err := p.StolenKey("acme", []string{stolen}, moment, "Its author's key was stolen.")
		if err != nil || !slices.Equal(kept, []string{agent + " 1.0.0"}) || len(gone) != 0 {
			t.Errorf("kept %v, gone %v, %v", kept, gone, err)
		}
		return p.Revoke(rev)
	})

	c := node(t, d.r, d.r.Dir, at)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.OpenVerified(t.Context(), agent, process)
	wantRefusal(t, err, registry.Revoked, agent)
	if in := install(t, c, agent, ""); in.Version != "1.0.0" || in.Locked.Descriptor != good.Locked.Descriptor {
		t.Errorf("installed %s instead of the last good release", in.Version)
	}
	open(t, c, agent, process)
	before := node(t, d.r, d.r.Dir, d.nodeAt)
	if err := before.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(t, before, agent, process) // pinned under the old key, and good
	d.r.Upload(t, d.author, registrytest.Plugin{ID: agent, Version: "1.1.0"})
	install(t, c, agent, "1.1.0")
	open(t, c, agent, process)
}
