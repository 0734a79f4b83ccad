package submission

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
)

// errShort says that an archive is cut off or has entries in another order.
var errShort = errors.New("the archive is not what its intent declares")

// Read reads an archive. trust sees the intent before anything else is read and says whether to go on. Artifacts become
// files of dir, named by their digests; they are the caller's to remove, also after an error.
func Read(ctx context.Context, r io.Reader, dir string, trust func(*SignedIntent) error) (publish.Upload, error) {
	up, err := read(ctx, r, dir, trust)
	if err != nil {
		return publish.Upload{}, fmt.Errorf("read submission: %w", err)
	}
	return up, nil
}

func read(ctx context.Context, r io.Reader, dir string, trust func(*SignedIntent) error) (up publish.Upload, err error) {
	bounded := &bounded{r: r, ctx: ctx, left: blocks(maxIntent)}
	in := tar.NewReader(bounded)
	data, err := readIntent(in)
	if err != nil {
		return up, err
	}
	signed, err := parseIntent(data)
	if err != nil {
		return up, err
	}
	if err := trust(signed); err != nil {
		return up, err
	}
	bounded.left = trailer
	for _, e := range signed.Intent.Entries {
		bounded.left += blocks(e.Size)
	}
	a := &archive{dir: dir, texts: map[string][]byte{}, blobs: map[string]string{}}
	for _, e := range signed.Intent.Entries {
		if err := a.take(in, e); err != nil {
			return up, err
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return up, fmt.Errorf("%w: there is more", errShort)
	}
	return a.upload(signed.Intent.Namespace)
}

// What an entry and the end of a tar take, in whole blocks.
const (
	block   = 512
	trailer = 20 * block // tar pads to records of that size
)

func blocks(size int64) int64 { return block + (size+block-1)/block*block }

// bounded ends a stream that goes on for longer than it may, or for longer than its context.
type bounded struct {
	r    io.Reader
	ctx  context.Context //nolint:containedctx // a reader has no other way to learn of its end
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: it is longer", errShort)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func readIntent(in *tar.Reader) ([]byte, error) {
	h, err := next(in)
	if err != nil {
		return nil, fmt.Errorf("it is no archive of a release (`picket plugin pack` makes one): %w", err)
	}
	if h.Name != intentName || h.Size > maxIntent {
		return nil, fmt.Errorf("its first entry must be %s of at most %d bytes", intentName, maxIntent)
	}
	return io.ReadAll(io.LimitReader(in, maxIntent+1))
}

// next returns the header of a plain file. Links, sparse files, devices and extended headers have no place here.
func next(in *tar.Reader) (*tar.Header, error) {
	h, err := in.Next()
	if err != nil {
		return nil, err
	}
	if h.Typeflag != tar.TypeReg || h.Linkname != "" || len(h.PAXRecords) > 0 || h.Format == tar.FormatGNU {
		return nil, fmt.Errorf("entry %q is not a plain file", h.Name)
	}
	return h, nil
}

// archive gathers the entries.
type archive struct {
	dir   string
	texts map[string][]byte
	blobs map[string]string // digest → file
}

// take reads one entry, which must be the declared one.
func (a *archive) take(in *tar.Reader, e Entry) error {
	h, err := next(in)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s is missing", errShort, e.Name)
	}
	if err != nil {
		return err
	}
	if h.Name != e.Name || h.Size != e.Size {
		return fmt.Errorf("%w: %q of %d bytes stands where %s of %d should", errShort, h.Name, h.Size, e.Name, e.Size)
	}
	if !strings.HasPrefix(e.Name, blobsName) {
		data, err := io.ReadAll(in)
		if err == nil && registry.Digest(data) != e.SHA256 {
			err = fmt.Errorf("%w: %s has other bytes", errShort, e.Name)
		}
		a.texts[e.Name] = data
		return err
	}
	a.blobs[e.SHA256] = filepath.Join(a.dir, e.SHA256)
	return writeBlob(a.blobs[e.SHA256], in, e)
}

func writeBlob(path string, in io.Reader, e Entry) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%w: %s has other bytes", errShort, e.Name)
	}
	return nil
}

// upload puts the entries together. What no part of the descriptor names has no place in the archive.
func (a *archive) upload(namespace string) (up publish.Upload, err error) {
	d, err := registry.ParseDescriptor(a.texts[releaseName])
	if err != nil {
		return up, err
	}
	if d.Manifest.Namespace() != namespace {
		return up, fmt.Errorf("the release %s is not of the namespace %s", d.Manifest.ID, namespace)
	}
	sub := publish.Submission{Descriptor: d, Artifacts: a.blobs}
	used := 2 // metadata and release
	if sub.Readme, err = a.text(readmeName, d.ReadmeSHA256, &used); err != nil {
		return up, err
	}
	if sub.Changelog, err = a.text(changelogName, d.ChangelogSHA256, &used); err != nil {
		return up, err
	}
	for _, s := range d.Screenshots {
		data, err := a.text(screenshotsName+s.File, s.SHA256, &used)
		if err != nil {
			return up, err
		}
		seen, err := registry.ReadScreenshot(s.File, data)
		if err != nil {
			return up, err
		}
		if seen != s {
			return up, fmt.Errorf("screenshot %s is not as the descriptor says: %d×%d", s.File, seen.Width, seen.Height)
		}
		sub.Screenshots = append(sub.Screenshots, data)
	}
	if plan, there := a.texts[planName]; there { // for the gates; the descriptor knows nothing of it
		sub.Plan = plan
		used++
	}
	if used != len(a.texts) {
		return up, errors.New("there are entries that the descriptor does not name")
	}
	if err := a.checkBlobs(d); err != nil {
		return up, err
	}
	return publish.Upload{Namespace: namespace, Metadata: a.texts[metadataName], Releases: []publish.Submission{sub}}, nil
}

func (a *archive) text(name, digest string, used *int) ([]byte, error) {
	data, there := a.texts[name]
	if there {
		*used++
	}
	if there != (digest != "") || there && registry.Digest(data) != digest {
		return nil, fmt.Errorf("%s is not the one that the descriptor names", name)
	}
	if there && !strings.HasPrefix(name, screenshotsName) && bytes.IndexByte(data, 0) >= 0 {
		return nil, fmt.Errorf("%s is not a text", name)
	}
	return data, nil
}

func (a *archive) checkBlobs(d *registry.Descriptor) error {
	named := map[string]bool{}
	for _, art := range d.Artifacts {
		named[art.SHA256] = true
		if a.blobs[art.SHA256] == "" {
			return fmt.Errorf("the artifact %s for %s/%s is missing", art.Runtime, art.OS, art.Arch)
		}
	}
	for digest := range a.blobs {
		if !named[digest] {
			return fmt.Errorf("%s%s is no artifact of the release", blobsName, digest)
		}
	}
	return nil
}
