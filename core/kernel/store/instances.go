package store

import (
	"context"
	"time"
)

// memoryWithin bounds how long the plugin host waits for its notes.
const memoryWithin = 10 * time.Second

// LoadInstance returns what the plugin host noted about an instance, nil when there is nothing. It implements
// pluginhost.Memory, as SaveInstance does.
func (c *Control) LoadInstance(instance string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), memoryWithin)
	defer cancel()
	list, err := collect(ctx, c.reader, func(r row) (body []byte, err error) {
		err = r.Scan(&body)
		return body, err
	}, "SELECT body FROM instance_memory WHERE instance = ?", instance)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// SaveInstance replaces the notes about an instance; nil removes them.
func (c *Control) SaveInstance(instance string, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), memoryWithin)
	defer cancel()
	if body == nil {
		_, err := c.exec(ctx, "DELETE FROM instance_memory WHERE instance = ?", instance)
		return err
	}
	_, err := c.exec(ctx, `INSERT INTO instance_memory (instance, body, updated) VALUES (?, ?, ?)
		ON CONFLICT (instance) DO UPDATE SET body = excluded.body, updated = excluded.updated`, instance, body, micros(c.now()))
	return err
}
