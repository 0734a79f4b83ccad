package core

import (
	"context"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/publish"
)

// settleWithin is how long the start waits for somebody who works on the registry, when jobs of before are to be settled.
const settleWithin = 30 * time.Second

// openIntake lets authors hand releases in when the online keys of the registry lie here; nil otherwise. What they hand
// in is looked at and never run on this server. The keeper signs for the registry's server as well.
func (c *Core) openIntake(keys string) (*intake.Intake, *publish.Keeper) {
	if keys == "" {
		return nil, nil
	}
	dir := c.source.dir
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	keeper, err := publish.NewKeeper(publish.Config{Dir: dir, Keys: keys, Now: c.cfg.Now})
	var in *intake.Intake
	if err == nil {
		in, err = intake.Open(ctx, intake.Config{Dir: filepath.Join(dir, ".server", "intake"), Registry: keeper, Now: c.cfg.Now, Log: c.cfg.Log})
	}
	if err != nil {
		c.cfg.Log.Warn("releases cannot be handed in to the registry here", "reason", err)
		return nil, nil
	}
	c.closeLater(in.Close)
	return in, keeper
}
