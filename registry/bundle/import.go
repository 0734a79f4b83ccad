package bundle

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
	"github.com/picketwatch/picket/registry/publish"
)

// Site is the registry that takes releases from bundles.
type Site struct {
	Dir  string
	Keys string // as publish.Config
	Root string // as publish.Config
	// Unlock asks for passphrases; nil: keys under one are not at hand.
	Unlock publish.Unlock
}

// BorderDir is the folder of a site's registry that remembers what its border has seen.
const BorderDir = ".border"

// siteKey is the file among the site's keys that signs imported namespaces.
const siteKey = "imported-namespaces.pem"

// Report says what an import did.
type Report struct {
	publish.Added
	Root    string    `json:"root_sha256"` // of the registry that the bundle is from
	Known   time.Time `json:"known"`
	Revoked int       `json:"revoked"` // withdrawals that were new
	Yanked  []string  `json:"yanked"`
}

// Import verifies a bundle at the border of a site and publishes what it brings in the site's own registry. Withdrawals
// come first. It can be run again when it broke off.
func Import(ctx context.Context, cfg Config, site Site) (*Report, error) {
	cfg.Dir = filepath.Join(site.Dir, BorderDir)
	b, err := Verify(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	p, err := publish.OpenConfig(ctx, publish.Config{Dir: site.Dir, Keys: site.Keys, RootFile: site.Root, Unlock: site.Unlock, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.RootSHA256() == b.Root {
		return nil, errors.New("the bundle is from this very registry; copy the registry's folder instead")
	}
	i := &importer{Checked: b, site: site, to: p, report: &Report{Root: b.Root, Known: b.Known}}
	if err := i.run(ctx); err != nil {
		return nil, fmt.Errorf("import %s: %w", filepath.Base(cfg.File), err)
	}
	return i.report, nil
}

type importer struct {
	*Checked
	site   Site
	to     *publish.Publisher
	report *Report
}

func (i *importer) run(ctx context.Context) error {
	key, err := i.key()
	if err != nil {
		return err
	}
	offered, err := i.client.List(ctx)
	if err != nil {
		return err
	}
	if err := i.revoke(offered); err != nil {
		return err
	}
	if err := i.evidence(); err != nil {
		return err
	}
	subs := make([]publish.Submission, 0, len(i.Releases))
	for _, r := range i.Releases {
		sub, err := i.submission(ctx, r)
		if err != nil {
			return err
		}
		subs = append(subs, sub)
	}
	yanked := map[string]string{}
	for _, r := range offered {
		yanked[r.Digest] = r.Yanked
	}
	done, err := i.to.Deliver(ctx, publish.Delivery{
		Namespaces: i.namespaces(), Key: key, Contact: "imported from the registry " + i.Root[:16], Releases: subs, Yanked: yanked,
	})
	if err != nil {
		return err
	}
	i.report.Added, i.report.Yanked = done.Added, done.Yanked
	return i.to.WriteUpstream(registry.Upstream{Source: i.Root, Known: i.Known})
}

// key is the site's own for imported namespaces, made the first time.
func (i *importer) key() (ed25519.PrivateKey, error) {
	path := filepath.Join(filepath.SplitList(i.site.Keys)[0], siteKey)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if _, err := publish.NewKey(path, nil); err != nil {
			return nil, fmt.Errorf("make the site's key for imported namespaces: %w", err)
		}
	}
	return publish.LoadKey(path, i.site.Unlock)
}

// namespaces are those of authors; the project's own are signed by the site's official role.
func (i *importer) namespaces() []string {
	var out []string
	for _, r := range i.Releases {
		ns := r.Descriptor.Manifest.Namespace()
		if r.Via != registry.ViaOfficial && !slices.Contains(out, ns) {
			out = append(out, ns)
		}
	}
	slices.Sort(out)
	return out
}

func (i *importer) submission(ctx context.Context, r *client.Verified) (publish.Submission, error) {
	d := r.Descriptor
	sub := publish.Submission{Descriptor: d, Artifacts: map[string]string{}}
	for _, a := range d.Artifacts {
		sub.Artifacts[a.SHA256] = i.client.StoredFile(a.SHA256)
	}
	page := func(digest string) []byte {
		if digest == "" {
			return nil
		}
		data, err := i.client.Blob(ctx, d, digest)
		if err != nil {
			return nil // Add says what is missing
		}
		return data
	}
	sub.Readme, sub.Changelog = page(d.ReadmeSHA256), page(d.ChangelogSHA256)
	for _, s := range d.Screenshots {
		sub.Screenshots = append(sub.Screenshots, page(s.SHA256))
	}
	n := slices.IndexFunc(i.Manifest.Releases, func(m Release) bool { return m.Descriptor == r.Digest })
	if n < 0 || i.Manifest.Releases[n].Card == "" {
		return sub, nil
	}
	card, err := i.client.Card(ctx, r.ID, r.Version, r.Digest, i.Manifest.Releases[n].Card)
	if err != nil {
		return sub, err
	}
	sub.Card = card
	for _, digest := range card.Evidence() {
		data, err := i.client.Evidence(ctx, digest)
		if err != nil {
			return sub, err
		}
		sub.Evidence = append(sub.Evidence, data)
	}
	return sub, nil
}

// revoke takes over what the other registry withdrew from namespaces that this one has from there. A revocation that
// names keys means keys of that registry's authors, which sign nothing here: it becomes one of the releases that are no
// longer good there.
func (i *importer) revoke(offered []client.Release) error {
	list, err := i.client.Revocations()
	if err != nil {
		return err
	}
	good := map[string]bool{}
	for _, r := range offered {
		if r.Revoked == nil {
			good[r.Digest] = true
		}
	}
	var revs []registry.Revocation
	for _, rev := range list.Revoked {
		ns, _, _ := strings.Cut(rev.Plugin, "/")
		refs, err := i.to.References(ns)
		if err != nil {
			return err
		}
		if len(rev.KeyIDs) == 0 {
			if ns == "picket" || slices.Contains(i.namespaces(), ns) || len(refs) > 0 {
				revs = append(revs, rev)
			}
			continue
		}
		rev.KeyIDs, rev.Descriptors = nil, nil
		for _, ref := range refs {
			if !good[ref.Descriptor] && rev.Covers(registry.Subject{ID: ref.ID, Version: ref.Version, Descriptor: ref.Descriptor}) {
				rev.Descriptors = append(rev.Descriptors, ref.Descriptor)
			}
		}
		if slices.Sort(rev.Descriptors); len(rev.Descriptors) > 0 {
			revs = append(revs, rev)
		}
	}
	i.report.Revoked, err = i.to.RevokeNew(revs...)
	return err
}

// evidence keeps the signed metadata that the releases hang on, so that anybody who trusts the other registry's root can
// check who signed them. Files carry their versions and stay; the last one written says which of them belong together.
func (i *importer) evidence() error {
	dir := filepath.Join(i.site.Dir, filepath.FromSlash(registry.EvidencePath(i.Root, "")))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	versions := map[string][]int64{}
	for _, f := range i.Manifest.Files {
		name, ok := strings.CutPrefix(f.Path, "metadata/")
		if !ok {
			continue
		}
		number, role, versioned := strings.Cut(strings.TrimSuffix(name, ".json"), ".")
		version, err := strconv.ParseInt(number, 10, 64)
		if !versioned || err != nil || role == "snapshot" || role == tufrules.RoleSecurity {
			continue
		}
		data, err := durable.ReadFile(filepath.Join(i.dir, filepath.FromSlash(f.Path)), f.Size)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
		versions[role] = append(versions[role], version)
	}
	for role, e := range i.chains(versions) {
		data, err := e.Encode()
		if err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(dir, role+".chain.json"), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (i *importer) chains(versions map[string][]int64) map[string]client.Evidence {
	newest := func(role string) int64 {
		if len(versions[role]) == 0 {
			return 0
		}
		return slices.Max(versions[role])
	}
	out := map[string]client.Evidence{}
	for _, r := range i.Releases {
		e := client.Evidence{Anchor: slices.Min(versions["root"]), Root: newest("root"), Targets: newest("targets"), Role: r.Role, Version: newest(r.Role)}
		if r.Via != registry.ViaOfficial {
			e.Parent, e.ParentVersion = r.Via, newest(r.Via)
		}
		out[r.Role] = e
	}
	return out
}
