package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// Submission is a release on its way into the registry.
type Submission struct {
	Descriptor  *registry.Descriptor
	Artifacts   map[string]string // digest → file that holds those bytes
	Readme      []byte
	Changelog   []byte
	Screenshots [][]byte // in the order of the descriptor

	// Card is what the gates found: its gates, resources, quality and SBOM. The publisher fills in the rest and signs it.
	Card     *registry.Card
	Evidence [][]byte // that the card names by digest

	// Plan is testdata/kit.json, with which the gates test the release. It is not published.
	Plan []byte
}

// pages are the small files of a submission with the digests that the descriptor gives them.
func (sub Submission) pages() ([]page, error) {
	d := sub.Descriptor
	pages := []page{{"README", d.ReadmeSHA256, sub.Readme}, {"CHANGELOG", d.ChangelogSHA256, sub.Changelog}}
	if len(sub.Screenshots) != len(d.Screenshots) {
		return nil, fmt.Errorf("%d screenshots were handed in, the descriptor names %d", len(sub.Screenshots), len(d.Screenshots))
	}
	for i, s := range d.Screenshots {
		pages = append(pages, page{s.File, s.SHA256, sub.Screenshots[i]})
	}
	for _, pg := range pages {
		switch {
		case pg.digest == "" && pg.data != nil, pg.digest != "" && registry.Digest(pg.data) != pg.digest:
			return nil, fmt.Errorf("the %s is not the one that the descriptor names", pg.name)
		}
	}
	return pages, nil
}

type page struct {
	name, digest string
	data         []byte
}

// complete reports whether the store holds everything that a descriptor names, by name and size.
func (p *Publisher) complete(d *registry.Descriptor) bool {
	for _, f := range d.Stored() {
		info, err := os.Stat(p.path(registry.StorePath(f.SHA256)))
		if err != nil || f.Size != 0 && info.Size() != f.Size {
			return false
		}
	}
	return true
}

// store puts the files of a submission into the store. Nothing is written under a digest that is not its own: it might
// be that of somebody else's release.
func (p *Publisher) store(ctx context.Context, sub Submission) error {
	pages, err := sub.pages()
	if err != nil {
		return err
	}
	for _, a := range sub.Descriptor.Artifacts {
		src, ok := sub.Artifacts[a.SHA256]
		if !ok {
			return fmt.Errorf("the artifact %s for %s/%s is missing", a.Runtime, a.OS, a.Arch)
		}
		if err := p.storeFile(ctx, src, a); err != nil {
			return err
		}
	}
	for _, pg := range pages {
		if pg.digest == "" {
			continue
		}
		if err := durable.WriteFile(p.path(registry.StorePath(pg.digest)), pg.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// storeFile copies an artifact and checks on the way that it is the one that was described.
func (p *Publisher) storeFile(ctx context.Context, src string, a registry.Artifact) error {
	in, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	defer in.Close()
	out, err := durable.Create(p.path(registry.StorePath(a.SHA256)), 0o644)
	if err != nil {
		return err
	}
	defer out.Abort()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, a.Size+1))
	if err != nil {
		return fmt.Errorf("store artifact %s: %w", src, err)
	}
	if n != a.Size || hex.EncodeToString(sum.Sum(nil)) != a.SHA256 {
		return fmt.Errorf("store artifact %s: its bytes are not those that were described; build again", src)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return out.Commit()
}

// addPages reads the small files of a published release back.
func (p *Publisher) addPages(sub *Submission) (err error) {
	read := func(digest string, maxBytes int64) []byte {
		if digest == "" || err != nil {
			return nil
		}
		var data []byte
		data, err = durable.ReadFile(p.path(registry.StorePath(digest)), maxBytes)
		return data
	}
	d := sub.Descriptor
	sub.Readme, sub.Changelog = read(d.ReadmeSHA256, registry.MaxReadme), read(d.ChangelogSHA256, registry.MaxChangelog)
	for _, s := range d.Screenshots {
		sub.Screenshots = append(sub.Screenshots, read(s.SHA256, registry.MaxScreenshot))
	}
	return err
}

// addCard reads what the gates found about a published release, if they did.
func (p *Publisher) addCard(sub *Submission, descriptor string) error {
	signed, err := p.readCard(descriptor)
	if err != nil || signed == nil {
		return err
	}
	sub.Card = &signed.Card
	for _, digest := range sub.Card.Evidence() {
		data, err := durable.ReadFile(p.path(registry.StorePath(digest)), MaxEvidence)
		if err != nil {
			return errors.Join(fmt.Errorf("evidence of %s %s", sub.Card.ID, sub.Card.Version), err)
		}
		sub.Evidence = append(sub.Evidence, data)
	}
	return nil
}
