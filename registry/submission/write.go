package submission

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
)

// Request is what an author has to say to hand in a release.
type Request struct {
	RootSHA256 string // of the registry's pinned root
	Current    []byte // the namespace's newest ns-NAME.json
	Keys       []ed25519.PrivateKey
	Now        time.Time
	Release    publish.Submission
}

// Write signs a release and writes its archive. It needs no registry, so that an author's key need never come near one.
func Write(w io.Writer, r Request) error {
	m := r.Release.Descriptor.Manifest
	up, err := publish.SignUpload(m.Namespace(), r.Current, r.Keys, r.Now, r.Release)
	if err != nil {
		return fmt.Errorf("pack %s %s: %w", m.ID, m.Version, err)
	}
	files, err := list(up)
	if err != nil {
		return fmt.Errorf("pack %s %s: %w", m.ID, m.Version, err)
	}
	intent := Intent{Schema: Schema, RootSHA256: r.RootSHA256, Namespace: m.Namespace(), Time: r.Now.UTC().Truncate(time.Second)}
	for _, f := range files {
		intent.Entries = append(intent.Entries, f.Entry)
	}
	data, err := signIntent(intent, r.Keys)
	if err != nil {
		return fmt.Errorf("pack %s %s: %w", m.ID, m.Version, err)
	}
	out := tar.NewWriter(w)
	files = slices.Insert(files, 0, memory(intentName, data))
	for _, f := range files {
		if err := f.write(out, intent.Time); err != nil {
			return fmt.Errorf("pack %s %s: %s: %w", m.ID, m.Version, f.Name, err)
		}
	}
	return out.Close()
}

func signIntent(intent Intent, keys []ed25519.PrivateKey) ([]byte, error) {
	if err := intent.check(); err != nil {
		return nil, err
	}
	payload, err := intent.payload()
	if err != nil {
		return nil, err
	}
	s := SignedIntent{Intent: intent}
	for _, key := range keys {
		s.Signatures = append(s.Signatures, registry.SignStatement(StatementPublish, payload, key))
	}
	return json.Marshal(s)
}

// file is an entry with where its bytes are.
type file struct {
	Entry
	data []byte
	path string // when not in memory
}

func memory(name string, data []byte) file {
	return file{Entry: Entry{name, registry.Digest(data), int64(len(data))}, data: data}
}

// list returns the entries after the intent.
func list(up publish.Upload) ([]file, error) {
	sub := up.Releases[0]
	d := sub.Descriptor
	release, err := d.Encode()
	if err != nil {
		return nil, err
	}
	files := []file{memory(metadataName, up.Metadata), memory(releaseName, release)}
	if d.ReadmeSHA256 != "" {
		files = append(files, memory(readmeName, sub.Readme))
	}
	if d.ChangelogSHA256 != "" {
		files = append(files, memory(changelogName, sub.Changelog))
	}
	if sub.Plan != nil {
		files = append(files, memory(planName, sub.Plan))
	}
	if len(sub.Screenshots) != len(d.Screenshots) {
		return nil, fmt.Errorf("%d screenshots are at hand, the descriptor names %d", len(sub.Screenshots), len(d.Screenshots))
	}
	for i, s := range d.Screenshots {
		files = append(files, memory(screenshotsName+s.File, sub.Screenshots[i]))
	}
	packed := map[string]bool{}
	for _, a := range d.Artifacts {
		path, ok := sub.Artifacts[a.SHA256]
		if !ok {
			return nil, fmt.Errorf("the artifact %s for %s/%s is missing; build again", a.Runtime, a.OS, a.Arch)
		}
		if !packed[a.SHA256] {
			files = append(files, file{Entry: Entry{blobsName + a.SHA256, a.SHA256, a.Size}, path: path})
		}
		packed[a.SHA256] = true
	}
	return files, nil
}

func (f file) write(out *tar.Writer, at time.Time) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: f.Size, Mode: 0o644, ModTime: at, Format: tar.FormatUSTAR}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	if f.path == "" {
		_, err := io.Copy(out, bytes.NewReader(f.data))
		return err
	}
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(out, in)
	if err == nil && n == f.Size {
		return nil
	}
	return errors.Join(errors.New("its size is not the one that was described; build again"), err)
}
