package publish_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

func keeper(t *testing.T, r *registrytest.Registry, unlock publish.Unlock) *publish.Keeper {
	t.Helper()
	k, err := publish.NewKeeper(publish.Config{Dir: r.Dir, Keys: r.Keys, Now: r.Now, Unlock: unlock})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// look reads the registry and returns what the keeper knows afterwards.
func look(t *testing.T, k *publish.Keeper) any {
	t.Helper()
	if err := k.Read(t.Context(), func(r publish.Reading) error {
		_, err := r.Published("picket/sample", "1.0.0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return k.Kept()
}

// newest is the path of the newest file of a role.
func newest(t *testing.T, r *registrytest.Registry, role string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.Dir, "metadata", "*."+role+".json"))
	if err != nil || len(files) == 0 {
		t.Fatal(role, err)
	}
	last := files[0]
	for _, f := range files[1:] {
		if len(f) > len(last) || len(f) == len(last) && f > last {
			last = f
		}
	}
	return last
}

func TestAKeeperReadsWhatChanged(t *testing.T) {
	r := registrytest.New(t)
	author := r.Claim(t, "acme")
	k := keeper(t, r, nil)
	first := look(t, k)
	if first == nil || look(t, k) != first {
		t.Error("it reads a registry again that has not changed")
	}

	r.Upload(t, author, registrytest.Plugin{ID: "acme/agent"})
	second := look(t, k)
	if second == first {
		t.Error("somebody has published meanwhile, and it has not read that")
	}

	upload := func(version string) func(p *publish.Publisher) error {
		return func(p *publish.Publisher) error {
			return p.Accept(t.Context(), author.Sign(t, r, p, registrytest.Plugin{ID: "acme/agent", Version: version}))
		}
	}
	for _, version := range []string{"1.1.0", "1.2.0"} {
		if err := k.Change(t.Context(), upload(version)); err != nil {
			t.Fatal(err)
		}
		if look(t, k) != second {
			t.Error("it reads again what it has written itself")
		}
	}
	if _, err := k.Renew(t.Context()); err != nil || look(t, k) != second {
		t.Errorf("after signing the timestamp it reads everything again (%v)", err)
	}
	report, err := publish.Verify(r.Dir, nil, r.Now())
	if err != nil || len(report.Releases) != 3 {
		t.Errorf("%d releases, %v", len(report.Releases), err)
	}
}

// What is known is worth nothing as soon as one of the files is another one, or the root is.
func TestAKeeperForgets(t *testing.T) {
	died := errors.New("no")
	for name, happens := range map[string]func(*testing.T, *registrytest.Registry, *publish.Keeper){
		"a change fails": func(t *testing.T, _ *registrytest.Registry, k *publish.Keeper) {
			t.Helper()
			if err := k.Change(t.Context(), func(*publish.Publisher) error { return died }); !errors.Is(err, died) {
				t.Error(err)
			}
		},
		"the timestamp is signed again": func(t *testing.T, r *registrytest.Registry, _ *publish.Keeper) {
			t.Helper()
			r.Renew(t)
		},
		"a file was put back from a copy": func(t *testing.T, r *registrytest.Registry, _ *publish.Keeper) {
			t.Helper()
			path := newest(t, r, "claimed")
			data, err := os.ReadFile(path)
			if err == nil {
				err = errors.Join(os.WriteFile(path+".copy", data, 0o644), os.Rename(path+".copy", path))
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"the root is replaced": func(t *testing.T, r *registrytest.Registry, _ *publish.Keeper) {
			t.Helper()
			add := publish.KeyChange{Add: []ed25519.PublicKey{registrytest.NewKey(t).Public().(ed25519.PublicKey)}}
			r.Change(t, func(p *publish.Publisher) error { return p.Rotate("timestamp", add) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t)
			r.Claim(t, "acme")
			k := keeper(t, r, nil)
			before := look(t, k)
			happens(t, r, k)
			if after := look(t, k); after == before || after == nil {
				t.Error("it goes on with what it knew")
			}
		})
	}
}

func TestAKeeperSeesDamage(t *testing.T) {
	r := registrytest.New(t)
	r.Claim(t, "acme")
	k := keeper(t, r, nil)
	look(t, k)
	path := newest(t, r, "claimed")
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := k.Read(t.Context(), func(publish.Reading) error { return nil }); err == nil || !strings.Contains(err.Error(), "claimed") {
		t.Errorf("a damaged file: %v", err)
	}
}

// Passphrases are asked for once, and keys that are replaced are found.
func TestAKeeperUnlocksOnce(t *testing.T) {
	r := registrytest.New(t)
	asked := 0
	locked := filepath.Join(r.Keys, "locked.pem")
	if _, err := publish.NewKey(locked, []byte("open sesame")); err != nil {
		t.Fatal(err)
	}
	k := keeper(t, r, func(path string) ([]byte, error) {
		asked++
		return []byte("open sesame"), nil
	})
	look(t, k)
	look(t, k)
	if asked != 1 {
		t.Errorf("asked %d times for one passphrase", asked)
	}
	if err := errors.Join(os.Remove(locked), os.Remove(strings.TrimSuffix(locked, ".pem")+".pub")); err != nil {
		t.Fatal(err)
	}
	if _, err := publish.NewKey(locked, []byte("open sesame")); err != nil {
		t.Fatal(err)
	}
	look(t, k)
	if asked != 2 {
		t.Errorf("asked %d times after the key was replaced", asked)
	}
	if _, err := publish.NewKeeper(publish.Config{Dir: r.Dir, Keys: r.Keys, Unlock: func(string) ([]byte, error) { return []byte("wrong"), nil }}); err == nil {
		t.Error("a wrong passphrase is taken")
	}
}

func TestAKeeperIsUsedByMany(t *testing.T) {
	r := registrytest.New(t)
	k := keeper(t, r, nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := k.Read(t.Context(), func(publish.Reading) error { return nil }); err != nil {
				t.Error(err)
			}
			if _, err := k.Renew(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
