package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
)

// Commands is what a server may order from this node.
type Commands struct {
	Refuse []string `json:"refuse"` // types of command that are not carried out here, such as restart-agent; default none
	Exec   []Exec   `json:"exec"`   // programs that may be run here; default none
}

// Exec is one program that a server may have run here, exactly so.
type Exec struct {
	Path   string   `json:"path"`   // of the program; default none, it must be there
	SHA256 string   `json:"sha256"` // of its bytes: another version is not run; default none, it must be there
	Args   []string `json:"args"`   // all of its arguments, no others; default none
}

const maxExec = 64

func (c *Commands) check() error {
	if len(c.Exec) > maxExec {
		return fmt.Errorf("commands.exec: %d programs, at most %d are allowed", len(c.Exec), maxExec)
	}
	for i, e := range c.Exec {
		switch {
		case !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path:
			return fmt.Errorf("commands.exec[%d].path: %q is not a clean absolute path", i, e.Path)
		case !registry.ValidDigest(e.SHA256):
			return fmt.Errorf("commands.exec[%d].sha256: not a SHA-256; sha256sum %s prints it", i, e.Path)
		case slices.ContainsFunc(e.Args, func(a string) bool { return strings.ContainsRune(a, 0) }):
			return fmt.Errorf("commands.exec[%d].args: an argument holds a zero byte", i)
		}
	}
	return nil
}

// AllowsCommand reports whether a type of command is carried out on this node. What it asks for may still be refused.
func (c *Ceiling) AllowsCommand(kind string) bool { return !slices.Contains(c.commands.Refuse, kind) }

// Exec finds the program that may be run with exactly these arguments, false when the node's owner named none.
func (c *Ceiling) Exec(program string, args []string) (Exec, bool) {
	for _, e := range c.commands.Exec {
		if e.Path == program && slices.Equal(e.Args, args) {
			return e, true
		}
	}
	return Exec{}, false
}
