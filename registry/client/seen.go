package client

import (
	"encoding/json"
	"time"

	"github.com/picketwatch/picket/registry/internal/durable"
)

// seen is when the registry last passed every check, for people; nothing is decided by it.
type seen struct {
	Refreshed time.Time `json:"refreshed"`
	Expires   time.Time `json:"expires"`
}

func (c *Client) readSeen() (seen, error) {
	var s seen
	data, err := durable.ReadFile(c.path("seen.json"), 4<<10)
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
	return durable.WriteFile(c.path("seen.json"), data, 0o600)
}
