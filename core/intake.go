package core

import (
	"context"
	"path/filepath"

	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/publish"
)

// openIntake lets authors hand releases in when the online keys of the registry lie here; nil otherwise. What they hand
// in is looked at and never run on this server.
func (c *Core) openIntake(keys string) *intake.Intake {
	if keys == "" {
		return nil
	}
	dir := c.source.dir
	in, err := intake.Open(context.Background(), intake.Config{
		Dir: filepath.Join(dir, ".server", "intake"), Now: c.cfg.Now, Log: c.cfg.Log,
		Open: func(ctx context.Context) (*publish.Publisher, error) {
			return publish.OpenConfig(ctx, publish.Config{Dir: dir, Keys: keys, Now: c.cfg.Now})
		},
	})
	if err != nil {
		c.cfg.Log.Warn("releases cannot be handed in to the registry here", "reason", err)
		return nil
	}
	c.closeLater(in.Close)
	return in
}
