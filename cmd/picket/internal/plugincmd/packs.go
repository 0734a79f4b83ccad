package plugincmd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/picketwatch/picket/registry"
)

// packs are the artifacts that serve several plugins: each is built once, and is the same for all of them.
type packs struct {
	mu    sync.Mutex // guards built
	built map[packKey]func() (path string, err error)
}

type packKey struct {
	dir string
	platform
}

// packDir is the folder of the pack that an artifact is built from, "" when it is built from the plugin's own main.
func (t *target) packDir(b *builder) string {
	if t.Runtime != registry.RuntimeProcess || t.plugin.manifest.Pack == "" || b.debug { // who debugs a plugin looks at that one
		return ""
	}
	return filepath.Join(t.plugin.src, filepath.FromSlash(t.plugin.manifest.Pack))
}

// compile makes one artifact, or takes over the one that another plugin of its pack has made.
func (p *packs) compile(ctx context.Context, b *builder, t *target) error {
	dir := t.packDir(b)
	if dir == "" {
		return t.plugin.lang.compile(ctx, b, t)
	}
	if _, ok := t.plugin.lang.(goLang); !ok {
		return errors.New("pack: only plugins in Go are built from a pack so far")
	}
	key := packKey{dir, platform{t.OS, t.Arch}}
	p.mu.Lock()
	if p.built == nil {
		p.built = map[packKey]func() (string, error){}
	}
	build, ok := p.built[key]
	if !ok {
		build = sync.OnceValues(func() (string, error) { return t.path, t.plugin.lang.compile(ctx, b, t) })
		p.built[key] = build
	}
	p.mu.Unlock()
	path, err := build()
	if err != nil || path == t.path {
		return err
	}
	return copyArtifact(path, t.path)
}

// copyArtifact leaves a file alone that is the same already, so that an unchanged build stays one.
func copyArtifact(from, to string) error {
	want, _, err := hashFile(from)
	if err != nil {
		return err
	}
	if have, _, err := hashFile(to); err == nil && have == want {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
