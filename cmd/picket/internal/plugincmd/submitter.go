package plugincmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/keyfile"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/submission"
)

// submitter is somebody who hands releases in to a registry of somebody else's.
type submitter struct {
	registry, root, rootSHA256, state, passphrase string
	keys                                          []string
}

func (a *submitter) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&a.keys, "key", nil, "a private key of your namespace; repeatable")
	f.StringVar(&a.root, "root", "", "the root.json of the registry; needed the first time")
	f.StringVar(&a.rootSHA256, "root-sha256", "", "the SHA-256 of the registry's root.json, instead of --root")
	f.StringVar(&a.state, "state", "", "where to remember what the registry was last seen to hold (default: a folder of your own)")
	f.StringVar(&a.passphrase, "passphrase-file", "", "a file with the passphrase of the keys (default: ask on a terminal)")
}

// open returns a client that remembers the registry, so that nobody can have an author sign on top of an older state.
func (a *submitter) open() (*client.Client, error) {
	dir := a.state
	if dir == "" {
		home, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("%w; say with --state where to remember the registry", err)
		}
		dir = filepath.Join(home, "picket", "author", registry.Digest([]byte(a.registry))[:16])
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	c, err := client.Open(client.Config{
		Dir: dir, Base: a.registry, RootFile: a.root, RootSHA256: a.rootSHA256, AllowDevelopment: true, AllowRecent: true,
	})
	if err != nil && a.root == "" && a.rootSHA256 == "" {
		err = fmt.Errorf("%w (name its root of trust the first time: --root FILE or --root-sha256 DIGEST)", err)
	}
	return c, err
}

// pack writes the archive of one release.
func (a *submitter) pack(ctx context.Context, cmd *cobra.Command, c *client.Client, sub publish.Submission, path string) error {
	keys, err := keyfile.Load(cmd, a.keys, a.passphrase)
	if err != nil {
		return err
	}
	m := sub.Descriptor.Manifest
	current, keyIDs, err := c.NamespaceFile(ctx, m.Namespace())
	if err != nil {
		return err
	}
	if !ownsOne(keyIDs, keys) {
		return fmt.Errorf("none of the keys is one of the namespace %s, which are %s", m.Namespace(), strings.Join(publish.ShortIDs(keyIDs), ", "))
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	err = submission.Write(out, submission.Request{RootSHA256: c.Status().RootSHA256, Current: current, Keys: keys, Now: time.Now(), Release: sub})
	if err != nil {
		return err
	}
	return out.Close()
}
