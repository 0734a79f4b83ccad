package registry

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// CountsPath is where a registry's server says how many nodes have each plugin and what they think of it, so that a copy
// of the folder shows it too. It helps to choose and decides nothing.
const CountsPath = "counts.json"

// MaxCounts bounds counts.json.
const MaxCounts = 16 << 20

// CountsSchema is the version of its format.
const CountsSchema = 1

// StatementCounts is the kind of statement that it is.
const StatementCounts = "counts"

// Counts is what it says, signed by a key of the registry's snapshot role.
type Counts struct {
	Schema     int            `json:"schema"`
	RootSHA256 string         `json:"root_sha256"`
	Source     string         `json:"source"` // names the journal that was counted, so that nobody counts it twice
	Time       time.Time      `json:"time"`
	Plugins    []PluginCounts `json:"plugins"` // by id; those that somebody has or had
}

// PluginCounts is what nodes said of one plugin.
type PluginCounts struct {
	ID       string `json:"id"`
	Installs int    `json:"installs"` // nodes that have it
	Reviews  int    `json:"reviews"`
	Stars    int    `json:"stars"` // of all reviews together
}

type signedCounts struct {
	Counts     json.RawMessage `json:"counts"`
	Signatures []Signature     `json:"signatures"`
}

// SignCounts returns the bytes of counts.json.
func SignCounts(c Counts, keys ...ed25519.PrivateKey) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sign %s: %w", CountsPath, err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	s := signedCounts{Counts: payload}
	for _, key := range keys {
		s.Signatures = append(s.Signatures, SignStatement(StatementCounts, payload, key))
	}
	data, err := json.Marshal(s)
	if err == nil && len(data) > MaxCounts {
		err = fmt.Errorf("sign %s: %d bytes, at most %d are allowed", CountsPath, len(data), MaxCounts)
	}
	return data, err
}

// OpenCounts reads counts.json and wants one of the keys to have signed it for this registry.
func OpenCounts(data []byte, rootSHA256 string, keys []ed25519.PublicKey) (*Counts, error) {
	var s signedCounts
	err := strict.JSON(data, MaxCounts, &s)
	if err == nil {
		err = VerifyStatement(StatementCounts, s.Counts, s.Signatures, keys, 1)
	}
	var c Counts
	if err == nil {
		err = strict.JSON(s.Counts, MaxCounts, &c)
	}
	if err == nil {
		err = c.check()
	}
	if err == nil && c.RootSHA256 != rootSHA256 {
		err = errors.New("it is of another registry")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", CountsPath, err)
	}
	return &c, nil
}

// maxCount is more nodes than there are, and few enough to be added up.
const maxCount = 1 << 28

func (c *Counts) check() error {
	var p problems
	p.add(c.Schema == CountsSchema, "schema: this build reads %d, not %d", CountsSchema, c.Schema)
	p.add(ValidDigest(c.RootSHA256), "root_sha256: not a SHA-256")
	p.err("source", checkText(c.Source, 100, true))
	p.add(!c.Time.IsZero(), "time: is missing")
	for i, n := range c.Plugins {
		if err := n.check(); err != nil {
			p.err(fmt.Sprintf("plugins[%d]", i), err)
			break
		}
		if i > 0 && c.Plugins[i-1].ID >= n.ID {
			p.add(false, "plugins: not ordered, or %s appears twice", n.ID)
			break
		}
	}
	return p.join()
}

func (n PluginCounts) check() error {
	switch {
	case !sdk.ValidID(n.ID):
		return errors.New("not a plugin's id")
	case n.Installs < 0 || n.Installs > maxCount || n.Reviews < 0 || n.Reviews > maxCount:
		return errors.New("not a number of nodes")
	case n.Stars < n.Reviews*minStars || n.Stars > n.Reviews*maxStars:
		return fmt.Errorf("%d stars in %d reviews", n.Stars, n.Reviews)
	}
	return nil
}
