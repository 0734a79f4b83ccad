package publish

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/registry"
)

// Published is a line of the registry's own record of what came in when. Nobody signs it; who withdraws what a stolen
// key signed reads in it which releases are older, and the offline keys then sign those digests.
type Published struct {
	Time       time.Time `json:"time"`
	ID         string    `json:"id"`
	Version    string    `json:"version"`
	Descriptor string    `json:"descriptor_sha256"`
}

const historyFile = ".published.jsonl"

// log adds releases to the record.
func (p *Publisher) log(subs ...Submission) error {
	f, err := os.OpenFile(filepath.Join(p.dir, historyFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, sub := range subs {
		data, err := sub.Descriptor.Encode()
		if err != nil {
			return err
		}
		m := sub.Descriptor.Manifest
		line, err := json.Marshal(Published{p.now().UTC().Truncate(time.Second), m.ID, m.Version, registry.Digest(data)})
		if err != nil {
			return err
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return f.Sync()
}

// firstSeen returns when each descriptor came in first.
func (p *Publisher) firstSeen() (map[string]time.Time, error) {
	seen := map[string]time.Time{}
	f, err := os.Open(filepath.Join(p.dir, historyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return seen, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		var l Published
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", historyFile, n, err)
		}
		if _, have := seen[l.Descriptor]; !have {
			seen[l.Descriptor] = l.Time
		}
	}
	return seen, lines.Err()
}
