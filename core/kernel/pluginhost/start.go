package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/reach"
)

// Descriptors that a plugin process inherits.
const (
	bytesFD    = 3 // the verified bytes: the program itself, or the guest for picket-wasm
	lifelineFD = 4
	recordsFD  = 5
	brokerFD   = 6
	cacheKeyFD = 7 // a pipe with the key of the compiled guests, for picket-wasm alone
)

// startProcess gives a run a process: one of its own, or where it can be, one that it shares with others of its pack.
func (s *supervisor) startProcess(ctx context.Context, art *client.Artifact, rel release, as role) (*run, error) {
	r := &run{s: s, release: rel, role: as}
	if err := s.openState(r); err != nil {
		return nil, &trouble{err}
	}
	pack, shared := s.packOf(r, art)
	if !shared {
		r.process = newProcess(s.host, r)
		return r, s.bringUp(ctx, r, art)
	}
	r.broker = s.brokerFor(r)
	if err := s.host.join(ctx, r, pack, func(ctx context.Context) error { return s.bringUp(ctx, r, art) }); err != nil {
		r.end()
		return nil, err
	}
	r.moveOut = r.house.Admit(s.name, r.broker, broker.Belongings{State: r.state, Models: modelFiles(r.models)})
	return r, nil
}

// packOf says whether a run can share a process, and with whom. It can when its plugin says that it is one of a pack, and when
// nothing that it may do is held to by its process: what it is shown and what it keeps comes and goes by instance. Those that see
// the machine and its files share with others that see exactly the same.
func (s *supervisor) packOf(r *run, art *client.Artifact) (packKey, bool) {
	m, a := &art.Descriptor.Manifest, r.assignment
	if m.Pack == "" || art.Runtime != RuntimeProcess || r.role == shadowing || a.Debug || a.Interpreter != "" || len(a.Secrets) > 0 || s.alone() {
		return packKey{}, false
	}
	var view []string
	for _, g := range r.grants {
		switch {
		case slices.Contains(sharedGrants, g.Cap):
		case slices.Contains(viewGrants, g.Cap):
			view = append(view, g.String())
		default:
			return packKey{}, false
		}
	}
	slices.Sort(view)
	return packKey{path.Base(m.Pack), art.Digest, strings.Join(view, " ")}, true
}

// sharedGrants are the permissions to which the host holds each instance, whatever its process.
var sharedGrants = []string{sdk.CapFlowsRead, sdk.CapPacketsRead, sdk.CapFactsRead, sdk.CapFilesRead, sdk.CapDevicesRead, sdk.CapState}

// viewGrants are the permissions that say what a process sees of the machine.
var viewGrants = []string{sdk.CapHostMetrics, sdk.CapFSRead}

// bringUp hands the verified bytes to picket-launch, which confines itself and becomes them. It leaves nothing when it fails.
func (s *supervisor) bringUp(ctx context.Context, r *run, art *client.Artifact) error {
	ends := &inherited{}
	defer ends.close() // the process has its own by then
	conf, err := s.prepare(ctx, r, art, ends)
	if err != nil {
		r.abort()
		return err
	}
	up, err := s.serveBroker(r, ends) // before the start: a plugin may ask while it comes up
	if err != nil {
		conf.Records.Close()
		r.abort()
		return &trouble{err}
	}
	defer close(up)
	// The parent-death signal comes when the thread that forked dies, which in Go can be long before the process does;
	// because the command asks for that signal, host.Start keeps the thread for as long as the plugin lives.
	proc, err := host.Start(ctx, conf)
	if err != nil {
		return s.notStarted(ctx, r, err)
	}
	r.proc = proc
	if r.reached, err = r.plan.Report(ctx); err != nil { // cannot be: it speaks, so it passed the gate
		r.abort()
		return &trouble{err}
	}
	s.host.running.Go(func() { s.host.guard(r.process) })
	return nil
}

// abort frees what a start that failed has made. Of a shared process each run leaves by itself.
func (r *run) abort() {
	r.process.end()
	if !r.shared() {
		r.end()
	}
}

// notStarted leaves nothing of a failed start, and says whose fault it was: what could not be confined was never executed.
// It asks picket-launch before it takes down what that talks to.
func (s *supervisor) notStarted(ctx context.Context, r *run, err error) error {
	asking, cancel := context.WithTimeoutCause(ctx, reportGrace, errors.New("it said nothing about the confinement"))
	_, unconfined := r.plan.Report(asking)
	cancel()
	r.abort()
	if unconfined != nil && ctx.Err() == nil {
		return &trouble{errors.Join(unconfined, err)}
	}
	if words := s.log.lastWords(r.started); words != "" {
		err = fmt.Errorf("%w (it wrote: %s)", err, words)
	}
	return err
}

// reportGrace is how long picket-launch may take, once its process has ended, to be heard.
const reportGrace = time.Second

// prepare makes all that a process needs. What it made before it failed is in r and ends.
func (s *supervisor) prepare(ctx context.Context, r *run, art *client.Artifact, ends *inherited) (host.Config, error) {
	watch, hold, err := os.Pipe() // both ends close at exec; the process gets a copy of one
	if err != nil {
		return host.Config{}, &trouble{fmt.Errorf("lifeline: %w", err)}
	}
	r.lifeline = hold
	ends.add(watch)
	if r.sockets, err = s.host.socketDir(); err != nil {
		return host.Config{}, &trouble{err}
	}
	records, err := ends.pairs()
	if err != nil {
		return host.Config{}, &trouble{err}
	}
	if err := s.confine(ctx, r, art, ends); err != nil {
		records.Close()
		return host.Config{}, err
	}
	startWithin := s.host.cfg.Deadlines.Start
	if art.Runtime == RuntimeWASM {
		startWithin = max(startWithin, s.host.cfg.Deadlines.Compile)
	}
	p := r.process
	return host.Config{
		Name: p.name, Cmd: r.cmd, SocketDir: r.sockets, SocketRoot: r.plan.SocketRoot, StartTimeout: startWithin,
		Log: p.log(), Records: records, LogDropped: func(n int) { p.each(func(r *run) { r.s.log.lost(n) }) },
		Misnamed: func(instance, _ string) {
			if r := p.run(instance); r != nil {
				r.s.misnamed()
			}
		},
		Ring: s.host.ringFor(r.kind, r.grants),
	}, nil
}

// confine decides how the process is confined and prepares picket-launch. The environment of the plugin holds nothing of
// ours but the numbers of its descriptors and what it may use.
func (s *supervisor) confine(ctx context.Context, r *run, art *client.Artifact, ends *inherited) (err error) {
	ask := confine.Request{
		Instance: r.name, Kind: r.kind, Runtime: art.Runtime, Grants: r.grants, Limits: r.limit(), Room: r.room, SocketDir: r.sockets,
		Interpreter: art.Descriptor.Manifest.Interpreter, Ceiling: s.host.ceiling(r.assignment, art), Most: s.host.mostLevel(r.assignment),
		AnyLevel: r.assignment.Debug,
		Refused:  func(c confine.RefusedCall) { r.each(func(r *run) { r.s.refusedCall(c) }) },
	}
	if s.host.cfg.ration {
		ask.Limits.CPU = 0
	}
	spec := launch.Spec{
		Parent: os.Getpid(), Lifeline: lifelineFD, Keep: []int{recordsFD, brokerFD}, Name: r.title,
		Program: fmt.Sprintf("/proc/self/fd/%d", bytesFD),
	}
	files := append([]*os.File{art.File}, ends.files...)
	if art.Runtime == RuntimeWASM {
		guest := confine.Guest{File: art.File, Digest: art.Digest, Cache: s.host.guestCache(), Key: s.host.guestKey,
			Helpers: s.host.cfg.Helpers, Ceiling: s.host.cfg.Ceiling, Most: s.host.mostLevel(r.assignment),
			AnyLevel: r.assignment.Debug}
		key, err := s.guest(ctx, guest, &spec, r.limits)
		if err != nil {
			return err
		}
		ask.Binds = []confine.Bind{{Path: guest.Entry()}}
		files = append(files, key)
		ends.add(key) // closed once the process has it
	}
	if r.plan, err = confine.New(ask); err != nil {
		return s.notConfined(r, err)
	}
	if err := r.plan.Prepare(); err != nil {
		return &trouble{err}
	}
	if r.cmd, err = r.plan.Command(filepath.Join(s.host.cfg.Helpers, "picket-launch"), spec, files); err != nil {
		return &trouble{err}
	}
	r.cmd.Env = append([]string{
		lifelineEnv + "=" + strconv.Itoa(lifelineFD), host.RecordsEnv + "=" + strconv.Itoa(recordsFD),
		brokerwire.Env + "=" + strconv.Itoa(brokerFD),
	}, r.plan.Env()...)
	return nil
}

// notConfined tells what this machine cannot hold a plugin to from what went wrong.
func (s *supervisor) notConfined(r *run, err error) error {
	if !confine.IsRefusal(err) {
		return &trouble{err}
	}
	return &refusal{Refused, &registry.Refusal{Plugin: r.assignment.Plugin, Version: r.version, Reason: registry.NotEnforced, Err: err}}
}

// guest makes sure that the guest is compiled and lets the process become its runner.
func (s *supervisor) guest(ctx context.Context, g confine.Guest, spec *launch.Spec, limits confine.Limits) (key *os.File, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.host.cfg.Deadlines.Compile)
	defer cancel()
	if err := g.Compile(ctx); errors.Is(err, confine.ErrNoGuest) {
		return nil, &refusal{Refused, fmt.Errorf("plugin %s: %w", s.assignment.Plugin, err)}
	} else if err != nil {
		return nil, err
	}
	spec.Keep = append(spec.Keep, bytesFD, cacheKeyFD)
	spec.Name = "picket-wasm " + spec.Name
	spec.Program = filepath.Join(s.host.cfg.Helpers, "picket-wasm")
	spec.Args = []string{"--guest-fd", strconv.Itoa(bytesFD), "--cache", g.CacheDir(), "--cache-key-fd", strconv.Itoa(cacheKeyFD)}
	if limits.Memory > 0 {
		spec.Args = append(spec.Args, "--memory", strconv.FormatInt(min(max(limits.Memory>>20, 4), 4096), 10))
	}
	if key, err = keyPipe(s.host.guestKey); err != nil {
		return nil, &trouble{err}
	}
	return key, nil
}

// inherited are the ends that a process inherits, ours closed once it has them, and our end of its broker.
type inherited struct {
	files  []*os.File
	broker *os.File
}

func (i *inherited) add(f *os.File) { i.files = append(i.files, f) }

// pairs adds the record plane and the broker, in this order, and returns our end of the first.
func (i *inherited) pairs() (*os.File, error) {
	records, child, err := host.RecordsPair()
	if err != nil {
		return nil, fmt.Errorf("record plane: %w", err)
	}
	i.add(child)
	if i.broker, child, err = broker.Pair(); err != nil {
		records.Close()
		return nil, fmt.Errorf("broker: %w", err)
	}
	i.add(child)
	return records, nil
}

func (i *inherited) close() {
	for _, f := range i.files {
		f.Close()
	}
	if i.broker != nil {
		i.broker.Close()
	}
}

// serveBroker answers what the process asks of the world outside, until it ends. The caller closes up once the process is
// up or has failed to come up: only then there is somebody to blame.
func (s *supervisor) serveBroker(r *run, ends *inherited) (up chan struct{}, err error) {
	p, conn := r.process, ends.broker
	ends.broker = nil // whoever serves it closes it
	var serve func() error
	if p.shared() {
		limited := func(what string) { p.each(func(r *run) { r.s.incident(IncidentLimit, what) }) }
		if p.house, err = broker.NewHouse(conn, broker.Config{Instance: p.name, Log: s.host.cfg.Log, Now: s.host.cfg.Now, Limited: limited}); err != nil {
			return nil, err
		}
		serve = p.house.Serve
	} else {
		r.broker = s.brokerFor(r)
		own := broker.Belongings{State: r.state, Models: modelFiles(r.models)}
		serve = func() error { return r.broker.ServeWith(conn, own) }
	}
	up = make(chan struct{})
	s.host.running.Go(func() {
		if err := serve(); err != nil {
			<-up
			if p.proc != nil {
				p.fail(nil, "broke the protocol of the broker: "+err.Error())
			}
		}
	})
	return up, nil
}

// brokerFor is the broker of the instance. It outlives processes, so that what was used stays known, and changes with the
// grants. A shadow has its own: what it does is no use of the instance. That of a candidate is put in charge with it.
func (s *supervisor) brokerFor(r *run) *broker.Broker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.role != shadowing && s.broker != nil && slices.EqualFunc(s.brokered, r.grants, equalJSON[sdk.Permission]) {
		return s.broker
	}
	b := broker.New(broker.Config{
		Instance: s.name, Grants: r.grants, Deny: s.host.cfg.Ceiling.Denied(),
		Log: s.host.cfg.Log, Now: s.host.cfg.Now,
		Refused: func(capability, detail string, err error) {
			s.incident(IncidentPermission, fmt.Sprintf("%s %s: %v", capability, detail, err))
		},
		Limited: func(what string) { s.incident(IncidentLimit, what) },
	})
	if r.role == inCharge {
		s.broker, s.brokered = b, r.grants
	}
	return b
}

// openState makes the key-value store of a process. That of a candidate and of a shadow is a draft over that of the one in
// charge: it reads the same and keeps what it stores to itself, until it is put in charge. Who was before it stores nothing
// then.
func (s *supervisor) openState(r *run) (err error) {
	if err := os.MkdirAll(s.stateDir(inCharge), 0o700); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if r.role == inCharge {
		_ = os.RemoveAll(s.stateDir(candidate)) // of a host that was killed over an upgrade
		r.state, err = s.store.TakeCharge()
		return err
	}
	if r.draft, err = reach.NewDraft(s.store, s.stateDir(r.role)); err != nil {
		return err
	}
	r.state = r.draft
	return nil
}

func (s *supervisor) stateDir(as role) string {
	return filepath.Join(s.host.stateRoot(), as.folder()+url.PathEscape(s.name))
}
