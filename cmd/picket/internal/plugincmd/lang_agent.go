package plugincmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/agentpack"
)

// agentLang is for releases of the agent: programs that were built before, in a folder OS-ARCH for each platform beside
// plugin.yaml, are packed.
type agentLang struct{}

func (agentLang) name() string { return "agent" }

// addAgents adds an archive for each platform that there is a folder for.
func (p *plugin) addAgents() error {
	entries, err := os.ReadDir(p.src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if goos, goarch, ok := strings.Cut(e.Name(), "-"); ok && e.IsDir() {
			p.add(agentpack.FileName(p.manifest.Version, goos, goarch),
				registry.Artifact{Runtime: registry.RuntimeFile, OS: goos, Arch: goarch, ABI: registry.ABIAgent})
		}
	}
	if len(p.targets) == 0 {
		return fmt.Errorf("%s has no folder such as linux-amd64 with the agent's programs", p.src)
	}
	return nil
}

func (agentLang) compile(_ context.Context, _ *builder, t *target) error {
	dir := filepath.Join(t.plugin.src, t.OS+"-"+t.Arch)
	if packedAlready(t.path, dir, t.OS) {
		return nil
	}
	half := t.path + ".new" // a build that is stopped leaves nothing that looks whole
	out, err := os.Create(half)
	if err != nil {
		return err
	}
	if err := errors.Join(agentpack.Write(out, dir, t.OS), out.Close()); err != nil {
		return err
	}
	return os.Rename(half, t.path)
}

// packedAlready reports whether an archive is younger than every program in it.
func packedAlready(path, dir, goos string) bool {
	made, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, program := range agentpack.Programs {
		info, err := os.Stat(filepath.Join(dir, agentpack.Name(program, goos)))
		if err != nil || !info.ModTime().Before(made.ModTime()) {
			return false
		}
	}
	return true
}

func (agentLang) command(*target) ([]string, error) {
	return nil, errors.New("the agent is no plugin: nothing here runs it")
}

func (agentLang) environ() []string { return nil }

func (agentLang) ownTests(*plugin) (*exec.Cmd, error) { return nil, nil }
