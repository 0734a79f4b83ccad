package plugincmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/sdk/abi"
)

// describe asks the plugin what it is and writes release.json.
func (p *plugin) describe(ctx context.Context) error {
	d := &registry.Descriptor{Schema: registry.DescriptorSchema, Manifest: *p.manifest, Page: string(p.pages.html), Screenshots: p.pages.screenshots}
	p.Submission = publish.Submission{Descriptor: d, Artifacts: map[string]string{}, Readme: p.readme, Changelog: p.pages.changelog, Screenshots: p.pages.pictures, Plan: p.pages.plan}
	for _, t := range p.targets {
		d.Artifacts = append(d.Artifacts, t.Artifact)
		p.Artifacts[t.SHA256] = t.path
	}
	if !p.manifest.IsFile() {
		about, err := p.ask(ctx)
		if err != nil {
			return err
		}
		if err := p.take(about); err != nil {
			return err
		}
	}
	if p.readme != nil {
		d.ReadmeSHA256 = registry.Digest(p.readme)
	}
	if p.pages.changelog != nil {
		d.ChangelogSHA256 = registry.Digest(p.pages.changelog)
	}
	data, err := d.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, "release.json"), data, 0o644)
}

// ask asks the artifact that runs here: the process rather than the guest, which needs picket-wasm.
func (p *plugin) ask(ctx context.Context) (*abi.Description, error) {
	for _, kind := range []string{registry.RuntimeProcess, registry.RuntimeWASM} {
		for i := range p.targets {
			t := &p.targets[i]
			native := t.OS == runtime.GOOS && t.Arch == runtime.GOARCH
			if t.Runtime != kind || kind == registry.RuntimeProcess && !native && t.OS != registry.AnyPlatform {
				continue
			}
			cmd, err := p.lang.command(t)
			if err != nil {
				return nil, err
			}
			return ask(ctx, append(cmd, "describe"), t, p.manifest.ID)
		}
	}
	return nil, errors.New("no artifact runs on this machine")
}

// take copies what the code says into the descriptor and compares it with what the manifest says.
func (p *plugin) take(about *abi.Description) error {
	d := p.Descriptor
	if about.Kind != p.manifest.Kind {
		return fmt.Errorf("plugin.yaml says kind %s, the code registers %s", p.manifest.Kind, about.Kind)
	}
	if schema := bytes.TrimSpace(about.ConfigSchema); len(schema) > 0 && !bytes.Equal(schema, []byte("null")) {
		d.ConfigSchema = about.ConfigSchema
	}
	if len(about.Rules) == 0 {
		return nil
	}
	var err error
	d.Rules, err = json.Marshal(about.Rules)
	return err
}

// How long a plugin may take to say what it is, and how much it may say.
const (
	askTimeout = 30 * time.Second
	askLimit   = 4 << 20
)

// ask runs `<binary> describe`. The environment stays away from it.
func ask(ctx context.Context, command []string, t *target, id string) (*abi.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if t.Runtime == registry.RuntimeWASM {
		runner, err := helper("picket-wasm")
		if err != nil {
			return nil, err
		}
		command = []string{runner, "describe", t.path}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append([]string{}, t.plugin.lang.environ()...)
	cmd.WaitDelay = time.Second
	var out, problem limited
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ask the plugin what it is (%s): %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(problem.Bytes()))
	}
	var all []abi.Description
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return nil, fmt.Errorf("ask the plugin what it is: its answer: %w", err)
	}
	var ids []string
	for i := range all {
		if all[i].ID == id {
			return &all[i], nil
		}
		ids = append(ids, all[i].ID)
	}
	return nil, fmt.Errorf("plugin.yaml says id %s, the code registers %s", id, strings.Join(ids, ", "))
}

// limited is a buffer that refuses to grow beyond askLimit.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > askLimit {
		return 0, errors.New("more output than a description has")
	}
	return l.Buffer.Write(p)
}
