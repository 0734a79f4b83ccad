package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/client"
)

const (
	installWithin = 15 * time.Minute // for the whole of it, most of which is fetching
	readyWithin   = 2 * time.Minute  // for a plugin to be ready once it was told to start
	undoWithin    = 30 * time.Second // to go back, also while the server is being stopped
	keepInstalls  = 30 * 24 * time.Hour
)

// installation is an InstallJob at work.
type installation struct {
	c    *Catalogue
	job  InstallJob
	row  store.Assignment // what is to run; its plugin is "" for a file that nothing runs
	from *client.Verified
	undo undo
	seen time.Time        // when its progress was stored last
	was  map[string]sight // by node, before it was told to run this
}

// Install begins to install a plugin with all that it needs, and to run it as wished. What is wrong with the wish is said
// at once; all that takes time happens in a job, which leaves everything as it was unless all of it goes well.
func (c *Catalogue) Install(ctx context.Context, id string, w Wish) (InstallJob, error) {
	if c.cfg.Registry == nil {
		return InstallJob{}, ErrNoShop
	}
	v, err := c.resolve(ctx, id, w.Version)
	if err != nil {
		return InstallJob{}, err
	}
	j := &installation{c: c, from: v}
	node := store.NodeServer
	if !v.Descriptor.Manifest.IsFile() {
		if j.row, err = c.assignment(ctx, v, w); err != nil {
			return InstallJob{}, err
		}
		node = nodeName(j.row)
	}
	if j.job, err = c.newJob(v.ID, v.Version, node, w.By, stepResolve, stepDownload, stepVerify, stepGrants, stepStart, stepReady); err != nil {
		return InstallJob{}, err
	}
	if err := c.begin(v.ID); err != nil {
		return InstallJob{}, err
	}
	if err = c.settleInstalls(ctx, v.ID); err == nil {
		err = j.save(ctx)
	}
	if err != nil {
		c.end(v.ID)
		return InstallJob{}, err
	}
	c.jobs.Go(func() {
		defer c.end(v.ID)
		j.run(c.life)
	})
	return j.job, nil
}

func (c *Catalogue) newJob(id, version, node, by string, steps ...string) (InstallJob, error) {
	uid, err := uuid.NewV7()
	job := InstallJob{ID: uid.String(), Plugin: id, Version: version, Node: node, By: by, State: InstallRunning, Started: c.cfg.Now().UTC(),
		Steps: []InstallStep{}, Undone: []string{}}
	for _, name := range steps {
		job.Steps = append(job.Steps, InstallStep{Name: name, State: StepWaiting})
	}
	return job, err
}

// begin keeps two installations of one plugin apart.
func (c *Catalogue) begin(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.installing[id] {
		return fmt.Errorf("%s is being installed already; wait for that to end: %w", id, store.ErrConflict)
	}
	c.installing[id] = true
	return nil
}

func (c *Catalogue) end(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.installing, id)
}

// InstallJob returns an installation and how far it has come.
func (c *Catalogue) InstallJob(ctx context.Context, id string) (InstallJob, error) {
	row, err := c.cfg.Store.InstallByID(ctx, c.cfg.Tenant, id)
	if err != nil {
		return InstallJob{}, err
	}
	var job InstallJob
	if err := json.Unmarshal(row.Body, &job); err != nil {
		return InstallJob{}, err
	}
	c.mu.Lock()
	atWork := c.installing[job.Plugin]
	c.mu.Unlock()
	if job.State == InstallRunning && !atWork { // the disk took nothing any more
		job.State, job.Error = InstallStuck, unwrittenReason
	}
	return job, nil
}

func (j *installation) save(ctx context.Context) error {
	body, err := json.Marshal(j.job)
	if err != nil {
		return err
	}
	row := store.Install{ID: j.job.ID, Tenant: j.c.cfg.Tenant, Plugin: j.job.Plugin, State: j.job.State, Body: body,
		Created: j.job.Started, Updated: j.c.cfg.Now()}
	if j.job.State == InstallRunning || j.job.State == InstallStuck { // what could not be taken back is tried again
		plan, err := json.Marshal(j.undo)
		if err != nil {
			return err
		}
		row.State, row.Undo = store.InstallRunning, map[string]string{"undo": string(plan)}
	}
	j.seen = time.Now()
	return j.c.cfg.Store.PutInstall(ctx, row)
}

// run carries the installation out, or takes back all that it did.
func (j *installation) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, installWithin)
	defer cancel()
	err := j.carryOut(ctx)
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
	defer done()
	if err == nil {
		err = j.end(ctx, InstallDone) // until that is written down a restart takes it back
	}
	if err != nil {
		j.fail(ctx, err)
		if err := j.end(ctx, j.job.State); err != nil {
			j.c.cfg.Log.Error("store how an installation ended", "plugin", j.job.Plugin, "error", err)
		}
	}
	if j.onServer() { // what runs may read a model that it brought another release of
		j.c.recheck()
	}
	j.c.changed(j.job.Plugin)
	e := audit.Entry{Tenant: j.c.cfg.Tenant, Actor: j.job.By, Action: "plugin.installed", Object: "plugin:" + j.job.Plugin,
		Detail: fmt.Sprintf("%s on %s, job %s", j.job.Version, j.job.Node, j.job.ID)}
	if err != nil {
		e.Outcome, e.Detail = audit.Failed, e.Detail+": "+j.job.Error
	}
	j.c.record(ctx, e)
}

// end writes down how it ended.
func (j *installation) end(ctx context.Context, state string) error {
	now := j.c.cfg.Now().UTC()
	j.job.State, j.job.Finished = state, &now
	return j.save(ctx)
}

func (j *installation) onServer() bool {
	return j.row.Plugin == "" || j.row.NodeType == store.NodeServer
}

func (j *installation) carryOut(ctx context.Context) error {
	if err := j.bring(ctx); err != nil {
		return err
	}
	if j.row.Plugin == "" { // a model or a data pack
		for _, name := range []string{stepGrants, stepStart, stepReady} {
			j.step(ctx, name, StepSkipped, "it is a file that plugins read; nothing runs")
		}
		return nil
	}
	if err := j.start(ctx); err != nil {
		return err
	}
	return j.ready(ctx)
}

// bring gets everything onto the server, if it is to run there. Agents fetch and verify for themselves.
func (j *installation) bring(ctx context.Context) error {
	if !j.onServer() {
		j.step(ctx, stepResolve, StepDone, "")
		for _, name := range []string{stepDownload, stepVerify} {
			j.step(ctx, name, StepSkipped, "each agent fetches and verifies it itself")
		}
		return nil
	}
	j.step(ctx, stepResolve, StepRunning, "")
	solver, ok := j.c.cfg.Registry.(Solver)
	if !ok {
		return errors.New("this server's registry client cannot install several releases as one")
	}
	plan, err := solver.Plan(ctx, []client.Want{{ID: j.from.ID, Version: j.from.Version, Runtime: j.row.Runtime}}, client.PlanOptions{Keep: true})
	if err != nil {
		return err
	}
	for _, s := range plan.Steps {
		j.undo.Plugins = append(j.undo.Plugins, j.c.pinnedNow(s.Release.ID))
	}
	if err := j.save(ctx); err != nil { // before anything changes, so that a restart knows what to take back
		return err
	}
	j.step(ctx, stepResolve, StepDone, fmt.Sprintf("%d to install", len(plan.Steps)))
	j.step(ctx, stepDownload, StepRunning, "")
	if _, err := solver.InstallAll(ctx, plan, func(p client.Progress) { j.progress(ctx, p) }); err != nil {
		return err
	}
	j.step(ctx, stepDownload, StepDone, "")
	j.step(ctx, stepVerify, StepDone, "every byte has the digest that was signed")
	return nil
}

// progress notes how many bytes are there, a few times a second.
func (j *installation) progress(ctx context.Context, p client.Progress) {
	s := j.find(stepDownload)
	s.Done, s.Total, s.Text = p.Done, p.Total, p.ID+" "+p.Version
	if time.Since(j.seen) > 300*time.Millisecond {
		j.tell(ctx)
	}
}

// start makes it the desired state of its node.
func (j *installation) start(ctx context.Context) error {
	j.c.change.Lock()
	defer j.c.change.Unlock()
	before, err := j.c.existing(ctx, j.row) // again: somebody may have changed it meanwhile
	if err != nil {
		return err
	}
	j.undo.Instance, j.undo.Before, j.undo.Wrote = j.row.Instance, before, &j.row
	if err := j.save(ctx); err != nil {
		return err
	}
	if err := j.sights(ctx); err != nil {
		return err
	}
	if j.onServer() {
		j.step(ctx, stepGrants, StepRunning, "")
		grants, err := grantsOf(j.row)
		if err != nil {
			return err
		}
		if err := j.c.cfg.Registry.RecordGrants(ctx, j.row.Plugin, grants); err != nil {
			return err
		}
		j.step(ctx, stepGrants, StepDone, "")
	} else {
		j.step(ctx, stepGrants, StepSkipped, "each agent records them itself, within its own policy")
	}
	j.step(ctx, stepStart, StepRunning, "")
	if err := j.c.cfg.Store.PutAssignment(ctx, j.row); err != nil {
		return fmt.Errorf("store what plugin %s should do: %w", j.row.Plugin, err)
	}
	if err := j.c.apply(ctx); err != nil {
		return fmt.Errorf("start plugin %s: %w", j.row.Plugin, err)
	}
	j.step(ctx, stepStart, StepDone, "")
	return nil
}

// fail takes back what was done and says so.
func (j *installation) fail(ctx context.Context, cause error) {
	j.c.change.Lock()
	defer j.c.change.Unlock()
	j.goBack(ctx, cause)
}

// goBack is fail for who holds change.
func (j *installation) goBack(ctx context.Context, cause error) {
	for i := range j.job.Steps {
		if s := &j.job.Steps[i]; s.State == StepRunning {
			s.State = StepFailed
		}
	}
	j.job.State, j.job.Error = InstallFailed, cause.Error()
	undone, err := j.c.takeBack(ctx, j.undo)
	j.job.Undone = undone
	if err != nil {
		j.job.State = InstallStuck
		j.job.Error += "; and going back failed: " + err.Error()
		j.c.cfg.Log.Error("take an installation back", "plugin", j.job.Plugin, "error", err)
		return
	}
	for i := range j.job.Steps {
		if s := &j.job.Steps[i]; s.State == StepDone && s.Name != stepResolve {
			s.State = StepRolledBack
		}
	}
}

func (j *installation) find(name string) *InstallStep {
	for i := range j.job.Steps {
		if j.job.Steps[i].Name == name {
			return &j.job.Steps[i]
		}
	}
	return &InstallStep{}
}

func (j *installation) step(ctx context.Context, name, state, text string) {
	s := j.find(name)
	s.State = state
	if text != "" {
		s.Text = text
	}
	j.tell(ctx)
}

// tell stores the progress and lets watchers know. That it could not be stored is no reason to stop.
func (j *installation) tell(ctx context.Context) {
	if err := j.save(ctx); err != nil {
		j.c.cfg.Log.Warn("store the progress of an installation", "plugin", j.job.Plugin, "error", err)
	}
	if j.c.cfg.Changed != nil {
		j.c.cfg.Changed(map[string]string{"plugin": j.job.Plugin, "install": j.job.ID})
	}
}
