package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// descriptor returns the descriptor of a release, from the node's store or from the registry.
func (c *Client) descriptor(ctx context.Context, e entry) (*registry.Descriptor, error) {
	data, err := c.fromStore(e.digest, e.length)
	if err != nil {
		if data, err = c.fetchTarget(ctx, e.path, e.digest, e.length); err != nil {
			return nil, err
		}
		if err := durable.WriteFile(c.storePath(e.digest), data, 0o444); err != nil {
			return nil, local(err)
		}
	}
	return parseDescriptor(data, e.id, e.version)
}

// parseDescriptor also makes sure that a descriptor speaks of the plugin under whose name it was signed.
func parseDescriptor(data []byte, id, version string) (*registry.Descriptor, error) {
	d, err := registry.ParseDescriptor(data)
	if err != nil {
		return nil, &registry.Refusal{Reason: registry.DescriptorMismatch, Err: err}
	}
	if d.Manifest.ID != id || d.Manifest.Version != version {
		return nil, refusal(registry.DescriptorMismatch, "its descriptor speaks of %s %s", d.Manifest.ID, d.Manifest.Version)
	}
	return d, nil
}

// fetchTarget gets the bytes of a target and compares them with what was signed.
func (c *Client) fetchTarget(ctx context.Context, path, digest string, length int64) ([]byte, error) {
	data, err := c.fetch(ctx, "targets/"+registry.HashedPath(path, digest), length)
	if errors.Is(err, errMissing) {
		return nil, refusal(registry.DescriptorMismatch, "%s is signed, but the registry does not have it", path)
	}
	if err != nil {
		return nil, err
	}
	if got := registry.Digest(data); got != digest {
		return nil, refusal(registry.DescriptorMismatch, "%s has SHA-256 %s, signed is %s", path, got, digest)
	}
	return data, nil
}

// fromStore returns bytes of the store whose digest is right.
func (c *Client) fromStore(digest string, maxBytes int64) ([]byte, error) {
	data, err := durable.ReadFile(c.storePath(digest), maxBytes)
	if err != nil {
		return nil, err
	}
	if got := registry.Digest(data); got != digest {
		return nil, fmt.Errorf("stored bytes have SHA-256 %s instead of %s", got, digest)
	}
	return data, nil
}

func (c *Client) storePath(digest string) string {
	return c.path(filepath.FromSlash(registry.StorePath(digest)))
}

// copyVerified copies exactly the artifact's bytes and refuses any others.
func copyVerified(dst io.Writer, src io.Reader, a registry.Artifact) error {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, sum), io.LimitReader(src, a.Size+1))
	if err != nil {
		return err
	}
	if n > a.Size {
		return refusal(registry.Oversized, "its %s artifact has more than the %d bytes that its descriptor states", a.Runtime, a.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.SHA256 {
		return refusal(registry.DigestMismatch, "its %s artifact has SHA-256 %s, its descriptor states %s", a.Runtime, got, a.SHA256)
	}
	return nil
}

func hashFile(path string, a registry.Artifact) error {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return copyVerified(io.Discard, f, a)
}

func openRegular(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}
