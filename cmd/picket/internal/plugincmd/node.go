package plugincmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
)

// node is the machine whose plugins a command is about, and the registry it trusts.
type node struct {
	data, registry, root, rootSHA256 string
	development                      bool
}

func (n *node) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.data, "data", ".picket", "the data folder of the server or agent")
	f.StringVar(&n.registry, "registry", "", "the registry: a folder or an address (default: the folder registry in --data)")
	f.StringVar(&n.root, "root", "", "the root.json to trust; needed once, later the pinned one is used")
	f.StringVar(&n.rootSHA256, "root-sha256", "", "the SHA-256 of the root.json to trust, instead of --root")
	f.BoolVar(&n.development, "dev", false, "allow a registry with a development root")
}

// open opens the node's registries: the one that is named here or lies in its data folder, and those of its policy.
func (n *node) open() (*client.Multi, error) {
	if n.root != "" && n.rootSHA256 != "" {
		return nil, usage.Errorf("--root and --root-sha256 both say which root to trust: give one of them")
	}
	if _, err := os.Stat(n.data); err != nil {
		return nil, noDataFolder(n.data, err)
	}
	ceiling, err := n.ceiling()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{
		AllowRecent: ceiling.AllowsRecent(), Staleness: ceiling.Staleness(),
		Dir: n.state(), Base: n.registry, RootFile: n.root, RootSHA256: n.rootSHA256,
		AllowDevelopment: n.development, Release: config.IsRelease(),
	}
	if cfg.Base == "" {
		cfg.Base = filepath.Join(n.data, "registry")
	}
	c, err := client.OpenMulti(cfg, ceiling.Registries())
	return c, n.hint(err)
}

// hint adds what to type to a refusal that the command's own flags can lift.
func (n *node) hint(err error) error {
	var refused *registry.Refusal
	switch {
	case errors.As(err, &refused) && refused.Reason == registry.DevelopmentRoot && !n.development && !config.IsRelease():
		return fmt.Errorf("%w\nIf %s is the data folder of a server that was started with --dev, say --dev here too", err, n.data)
	case errors.Is(err, client.ErrNoRoot):
		return fmt.Errorf("%w\nIt is named with --root or --root-sha256, once. A server or an agent pins its own when it starts: is %s its data folder?", err, n.data)
	}
	return err
}

// noDataFolder says what is wrong with a data folder that cannot be looked at.
func noDataFolder(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no data folder %s: name the one of your picketd or agent with --data", dir)
	}
	return fmt.Errorf("look at the data folder: %w", err)
}

// state is where a server or an agent keeps what it installed.
func (n *node) state() string {
	server, agent := filepath.Join(n.data, "plugins", "installed"), filepath.Join(n.data, "plugins", "registry")
	if _, err := os.Stat(agent); err == nil {
		return agent
	}
	return server
}

// ceiling is what the node's owner allows at most.
func (n *node) ceiling() (*policy.Ceiling, error) {
	return policy.Find("/etc/picket/policy.yaml", filepath.Join(n.data, "policy.yaml"))
}

// splitVersion takes "picket/host@^1.2" apart.
func splitVersion(arg string) (id, versionRange string) {
	id, versionRange, _ = strings.Cut(arg, "@")
	return id, versionRange
}

// trustWord says how much a root deserves.
func trustWord(s client.Status) string {
	if s.Trust == registry.TrustDevelopment {
		return "development trust"
	}
	return "release trust"
}
