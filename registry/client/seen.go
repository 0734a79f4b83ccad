package client

import (
	"encoding/json"
	"time"

	"github.com/picketwatch/picket/registry/internal/durable"
)

// seen is when the registry last passed every check.
type seen struct {
	Refreshed time.Time `json:"refreshed"`
	Expires   time.Time `json:"expires"`
	Upstream  time.Time `json:"upstream,omitzero"` // see Freshness
}

func (c *Client) readSeen() (seen, error) {
	var s seen
	data, err := durable.ReadFile(c.home("seen.json"), 4<<10)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (c *Client) writeSeen(s seen) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.WriteFile(c.home("seen.json"), data, 0o600)
}

// now is the time that signatures are held against: this machine's clock, but never before the last refresh that passed.
// A clock that somebody set back does not make old signatures fresh again. One that ran ahead does no lasting harm: with
// it signatures would have been out of date, and no refresh would have passed.
func (c *Client) now() time.Time {
	now := c.cfg.Now().UTC()
	if s, err := c.readSeen(); err == nil && s.Refreshed.After(now) {
		return s.Refreshed.UTC()
	}
	return now
}
