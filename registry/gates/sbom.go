package gates

import (
	"bytes"
	"context"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

// sbom writes what the release was built from as CycloneDX, from what its artifacts say themselves.
func (c *check) sbom(ctx context.Context, f *finding) {
	b := c.parts(ctx)
	if b.read == 0 {
		f.lackf("not known what it was built from: %s", strings.Join(b.unknown, "; "))
		return
	}
	data, err := c.cyclonedx(b)
	if err != nil {
		f.lackf("%v", err)
		return
	}
	c.card.SBOM = c.keep(data)
	f.evidence = c.card.SBOM
	f.sumf("%s", plural(len(b.parts), "component"))
	if len(b.unknown) > 0 {
		f.lackf("%s known, but not all: %s", plural(len(b.parts), "component"), strings.Join(b.unknown, "; "))
	}
}

func (c *check) cyclonedx(b *bom) ([]byte, error) {
	m := c.Descriptor.Manifest
	out := cyclonedx.NewBOM()
	out.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		BOMRef: "release", Type: cyclonedx.ComponentTypeApplication, Name: m.ID, Version: m.Version, Description: m.Summary,
		Licenses: &cyclonedx.Licenses{{Expression: m.License}},
	}}
	components := make([]cyclonedx.Component, 0, len(b.parts))
	for _, p := range b.parts {
		component := cyclonedx.Component{
			BOMRef: p.purl(), Type: cyclonedx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: p.purl(),
		}
		if p.License != "" {
			component.Licenses = &cyclonedx.Licenses{{Expression: p.License}}
		}
		components = append(components, component)
	}
	out.Components = &components
	var buf bytes.Buffer
	enc := cyclonedx.NewBOMEncoder(&buf, cyclonedx.BOMFileFormatJSON)
	enc.SetPretty(true)
	if err := enc.EncodeVersion(out, cyclonedx.SpecVersion1_6); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// purl is the package URL of a part.
func (p part) purl() string {
	if p.own() {
		return "pkg:" + p.Ecosystem + "/" + p.Name
	}
	return "pkg:" + p.Ecosystem + "/" + p.Name + "@" + strings.ReplaceAll(p.Version, "+", "%2B")
}
