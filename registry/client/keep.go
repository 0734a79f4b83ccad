package client

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// copyMetadata fills the stage. A damaged file stops here: to go on without it would be to forget.
func copyMetadata(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		role, isMetadata := strings.CutSuffix(e.Name(), ".json")
		if !isMetadata {
			continue
		}
		data, err := durable.ReadFile(filepath.Join(from, e.Name()), tufrules.MaxTargets)
		if err != nil {
			return err
		}
		if err := tufrules.Check(role, data); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(from, e.Name()), err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// keep makes durable what go-tuf accepted. The roots are kept already: the rest hangs on them.
func (c *Client) keep(stage string, root *trustedRoot) error {
	entries, err := os.ReadDir(stage)
	if err != nil {
		return local(err)
	}
	for _, name := range inTrustOrder(entries) {
		if err := keepFile(filepath.Join(stage, name), filepath.Join(c.home("metadata"), name)); err != nil {
			return local(err)
		}
	}
	if err := c.writeAccepted(root); err != nil {
		return local(err)
	}
	return nil
}

// inTrustOrder lists metadata files so that a crash between two writes leaves what a refresh can continue from.
func inTrustOrder(entries []os.DirEntry) []string {
	order := []string{"timestamp.json", "snapshot.json", "targets.json"}
	var present, delegated []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case !strings.HasSuffix(name, ".json"), name == "root.json": // roots are kept as a chain
		case slices.Contains(order, name):
			present = append(present, name)
		default:
			delegated = append(delegated, name)
		}
	}
	slices.SortFunc(present, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return append(present, delegated...)
}

func keepFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(to); err == nil && string(have) == string(data) {
		return nil
	}
	return durable.WriteFile(to, data, 0o600)
}
