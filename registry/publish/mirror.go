package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// Mirror makes the development registry in dst offer what the one in src offers, and renews its signatures. The first
// time, dst becomes a copy of src, keys included. From then on dst keeps its own root, keys and version numbers, and
// only releases and revocations travel: a node that trusts dst sees it move forward even when src was built anew.
func Mirror(ctx context.Context, dst, dstKeys, src, srcKeys string, now func() time.Time) (Added, error) {
	from, err := Open(ctx, src, srcKeys, now)
	if err != nil {
		return Added{}, fmt.Errorf("mirror registry: %w", err)
	}
	defer from.Close()
	if !from.Development() {
		return Added{}, fmt.Errorf("mirror registry: %s has no development root; copy it and keep its keys away from here", src)
	}
	if _, err := os.Stat(filepath.Join(dst, "metadata", "timestamp.json")); errors.Is(err, fs.ErrNotExist) {
		if err := cloneFolders(dst, dstKeys, src, srcKeys); err != nil {
			return Added{}, fmt.Errorf("mirror registry: %w", err)
		}
	}
	to, err := Open(ctx, dst, dstKeys, now)
	if err != nil {
		return Added{}, fmt.Errorf("mirror registry: %w", err)
	}
	defer to.Close()
	done, err := to.take(ctx, from)
	if err != nil {
		return Added{}, fmt.Errorf("mirror registry: %w", err)
	}
	_, err = to.Renew()
	return done, err
}

// cloneFolders copies registry and keys. The registry appears last and at once, so that a crash leaves nothing that
// looks complete.
func cloneFolders(dst, dstKeys, src, srcKeys string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := cloneFolder(dstKeys, srcKeys, 0o700); err != nil {
		return err
	}
	return cloneFolder(dst, src, 0o755)
}

func cloneFolder(dst, src string, mode fs.FileMode) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dst), ".copy-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := copyTree(tmp, src); err != nil {
		return err
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return err
	}
	if err := os.RemoveAll(dst); err != nil {
		return err
	}
	if err := os.Rename(tmp, dst); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dst))
}

// copyTree copies folders and regular files with their permissions; keys stay private.
func copyTree(dst, src string) error {
	return filepath.WalkDir(src, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch to := filepath.Join(dst, rel); {
		case e.IsDir():
			return os.MkdirAll(to, info.Mode().Perm())
		case info.Mode().IsRegular():
			return copyFile(to, name, info.Mode().Perm())
		}
		return fmt.Errorf("%s is neither a folder nor a regular file", name)
	})
}

func copyFile(dst, src string, mode fs.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := durable.Create(dst, mode)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Commit()
}

// take adds what another registry has.
func (p *Publisher) take(ctx context.Context, from *Publisher) (Added, error) {
	subs, err := from.submissions()
	if err != nil {
		return Added{}, err
	}
	done, err := p.Add(ctx, subs)
	if err != nil {
		return Added{}, err
	}
	theirs, err := from.revocations()
	if err != nil {
		return Added{}, err
	}
	ours, err := p.revocations()
	if err != nil {
		return Added{}, err
	}
	if ours.Merge(theirs) == 0 {
		return done, nil
	}
	p.setList(ours)
	return done, p.finish()
}

// submissions are all releases of a registry as they were handed in.
func (p *Publisher) submissions() ([]Submission, error) {
	var subs []Submission
	for _, role := range p.state.releaseRoles() {
		m, err := p.state.role(role)
		if err != nil {
			return nil, err
		}
		for path := range m.Signed.Targets {
			d, err := p.descriptor(role, path)
			if err != nil {
				return nil, err
			}
			sub := Submission{Descriptor: d, Artifacts: map[string]string{}}
			for _, a := range d.Artifacts {
				sub.Artifacts[a.SHA256] = p.path(registry.StorePath(a.SHA256))
			}
			if err := p.addPages(&sub); err != nil {
				return nil, err
			}
			if err := p.addCard(&sub, hex.EncodeToString(m.Signed.Targets[path].Hashes["sha256"])); err != nil {
				return nil, err
			}
			subs = append(subs, sub)
		}
	}
	return subs, nil
}
