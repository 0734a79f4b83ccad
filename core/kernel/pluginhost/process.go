package pluginhost

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/sdk/host"
)

// process is a plugin process: that of one run, or of several whose plugins are one pack.
type process struct {
	host     *Host
	name     string // for errors and logs
	title    string // in the list of the machine's processes
	pack     packKey
	proc     *host.Process
	cmd      *exec.Cmd
	plan     *confine.Plan
	reached  confine.Report // how far it is confined
	house    *broker.House  // answers the broker's questions; nil when it has one run
	lifeline *os.File       // the write end; closing it asks the plugin to leave
	sockets  string
	started  time.Time
	used     atomic.Pointer[usage]
	room     int64 // the most memory that its runs may have together
	over     sync.Once

	// Of one that is shared:
	up     chan struct{}      // closed when it is up or has failed to come up
	err    error              // why it failed; set before that
	giveUp context.CancelFunc // ends its start

	mu      sync.Mutex // guards all below
	failure string     // why the host killed it
	culprit *run       // whose fault its end is, when that is known
	runs    map[string]*run
	closed  bool           // takes no more runs
	parting bool           // its last run stops it
	struck  bool           // somebody was at work when it ended
	crowd   int            // how many runs it had when it ended
	bounds  confine.Limits // the sum of the limits of its runs
	split   time.Duration  // of its processor time, that was split among its runs
}

func newProcess(h *Host, r *run) *process {
	return &process{host: h, name: r.s.name, title: r.assignment.Plugin, started: h.cfg.Now(), bounds: r.limits, room: r.limits.Memory,
		runs: map[string]*run{r.s.name: r}}
}

func (p *process) shared() bool { return p.pack != packKey{} }

// exited reports whether it has ended.
func (p *process) exited() bool {
	if p.proc == nil {
		return false
	}
	select {
	case <-p.proc.Exited():
		return true
	default:
		return false
	}
}

// run returns the run of an instance, nil when it is none of the process's.
func (p *process) run(instance string) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[instance]
}

// each does something for every run.
func (p *process) each(do func(*run)) {
	p.mu.Lock()
	list := make([]*run, 0, len(p.runs))
	for _, r := range p.runs {
		list = append(list, r)
	}
	p.mu.Unlock()
	for _, r := range list {
		do(r)
	}
}

// others are the instances with which r shares the process, in order.
func (p *process) others(r *run) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name, other := range p.runs {
		if other != r {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// log is where its lines go: each to the instance that wrote it, what nobody put his name to, to all.
func (p *process) log() *slog.Logger { return slog.New(processLog{p}) }

type processLog struct{ p *process }

func (processLog) Enabled(context.Context, slog.Level) bool { return true }

func (l processLog) Handle(ctx context.Context, rec slog.Record) error {
	writer := ""
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "instance" {
			writer = a.Value.String()
		}
		return writer == ""
	})
	r := l.p.run(writer)
	if r == nil {
		l.p.each(func(r *run) { _ = ringHandler{ring: r.s.log}.Handle(ctx, rec) }) // it never fails
		return nil
	}
	if rec.Message == host.Panicked {
		l.p.blame(r)
	}
	return ringHandler{ring: r.s.log}.Handle(ctx, rec)
}

// WithAttrs is never called: the lines come one by one.
func (l processLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup is never called either.
func (l processLog) WithGroup(string) slog.Handler { return l }

// blame says whose fault the end of the process is. The first word counts.
func (p *process) blame(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.culprit == nil {
		p.culprit = r
	}
}

// fail kills the process for a reason that the epitaph repeats. by is whose fault it is, nil when nobody knows.
func (p *process) fail(by *run, reason string) {
	p.mu.Lock()
	if p.failure == "" {
		p.failure = reason
		if p.culprit == nil {
			p.culprit = by
		}
	}
	p.closed = true
	p.mu.Unlock()
	p.kill()
}

// kill ends the process and all that came of it.
func (p *process) kill() {
	killGroup(p.proc.PID())
	_ = p.plan.Kill() // whoever is left in its control group
}

// doomed reports whether it has ended or is about to.
func (p *process) doomed() bool {
	p.mu.Lock()
	failed := p.failure != ""
	p.mu.Unlock()
	return failed || p.exited()
}

// end frees what belongs to the process once it has ended, nobody needs it any more, or it was never started.
func (p *process) end() {
	p.over.Do(func() {
		if p.lifeline != nil {
			p.lifeline.Close()
		}
		if p.proc != nil {
			p.kill()      // whatever the plugin may have started
			p.proc.Kill() // waits until it is gone and its last lines are read
		}
		if p.plan != nil {
			p.starved()
			_ = p.plan.Close() // removes control groups; one that is not empty yet goes with the next start
		}
		os.RemoveAll(p.sockets)
		if p.proc != nil {
			p.splitRest()
		}
	})
}

// starved finds out from the control group whether the kernel ended the process for its memory.
func (p *process) starved() {
	if p.plan.OutOfMemory() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failure = "used all of its" + beyondMemory + mebibytes(uint64(p.bounds.Memory))
	}
}

// why is the reason for which the host or the kernel's limit ended the process, "" when it ended otherwise.
func (p *process) why() string {
	p.mu.Lock()
	failure := p.failure
	p.mu.Unlock()
	if failure == "" && p.proc != nil {
		if err := p.proc.Fault(); err != nil {
			return "broke the rules of the record plane: " + err.Error()
		}
	}
	return failure
}

// epitaph says why the process ended, in words that fit after "it".
func (p *process) epitaph(log *logRing) string {
	if failure := p.why(); failure != "" {
		return failure
	}
	end := "ended"
	if ps := p.state(); ps != nil {
		if ws, ok := ps.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			end = "was killed by signal " + strconv.Itoa(int(ws.Signal())) + " (" + ws.Signal().String() + ")"
		} else {
			end = "exited with status " + strconv.Itoa(ps.ExitCode())
		}
	}
	if words := log.lastWords(p.started); words != "" {
		end += ": " + words
	}
	return end
}

// state is how the process ended, nil before.
func (p *process) state() *os.ProcessState {
	if !p.exited() {
		return nil
	}
	return p.cmd.ProcessState
}

// cpuTime is the exact total of a process that has ended.
func (p *process) cpuTime() time.Duration {
	if ps := p.state(); ps != nil {
		return ps.UserTime() + ps.SystemTime()
	}
	return 0
}

// usage is what the process has used so far. One that has not run since the last look has the memory that it had then.
func (p *process) usage() (usage, error) {
	pid := p.proc.PID()
	if last := p.used.Load(); last != nil {
		if cpu, err := spentBy(pid); err == nil && cpu == last.cpu {
			return *last, nil
		}
	}
	u, err := usageOf(pid)
	if err == nil {
		p.used.Store(&u)
	}
	return u, err
}

// limit is what the process is held to now.
func (p *process) limit() confine.Limits {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bounds
}

// --- several runs ---

// packKey says which runs can share a process: those of the same bytes that see the same of the machine.
type packKey struct {
	name   string
	digest string
	view   string
}

// shareRoom is how many times the memory of its first run a shared process may come to have. It bounds what cannot be raised
// once a process runs.
const shareRoom = 32

// join gives a run its process: one that runs its pack already, or a new one.
func (h *Host) join(ctx context.Context, r *run, pack packKey, start func(context.Context) error) error {
	p, first := h.houseOf(r, pack)
	r.process = p
	if first {
		startCtx, giveUp := context.WithCancel(context.Background())
		p.giveUp = giveUp
		h.running.Go(func() {
			defer giveUp()
			p.err = start(startCtx)
			close(p.up)
		})
	}
	select {
	case <-p.up:
	case <-ctx.Done():
		p.leave(r)
		if first {
			<-p.up // what it is started from is this run's
		}
		return context.Cause(ctx)
	}
	if p.err != nil {
		return p.err
	}
	return p.raise()
}

// houseOf returns the process for a run, and whether that is to start it.
func (h *Host) houseOf(r *run, pack packKey) (p *process, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p = h.packs[pack]
	if p != nil && p.take(r) {
		return p, false
	}
	first = true
	stranger := p == nil || p.run(r.s.name) == nil
	p = newProcess(h, r)
	p.name, p.title, p.pack, p.up = "pack "+pack.name, "pack "+pack.name, pack, make(chan struct{})
	p.room = r.limits.Memory * shareRoom
	if half := h.room.most; half > 0 {
		p.room = max(min(p.room, half), r.limits.Memory)
	}
	if stranger { // else both versions of the instance would be in it
		if h.packs == nil {
			h.packs = map[packKey]*process{}
		}
		h.packs[pack] = p
	}
	return p, first
}

// take adds a run if there is room for it.
func (p *process) take(r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.runs[r.s.name] != nil {
		return false
	}
	select {
	case <-p.up:
		if p.err != nil || p.exited() {
			return false
		}
	default:
	}
	memory, cpu := r.limits.Memory, r.limits.CPU
	for _, other := range p.runs {
		memory += other.limits.Memory
		cpu += other.limits.CPU
	}
	if p.room > 0 && memory > p.room {
		return false
	}
	p.runs[r.s.name] = r
	p.bounds.Memory, p.bounds.CPU = max(p.bounds.Memory, memory), max(p.bounds.CPU, cpu)
	return true
}

// raise holds the process to the sum of what its runs may use. It never takes back what a run leaves behind: the memory of a
// process does not shrink because it has less to do.
func (p *process) raise() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.plan.Raise(p.bounds); err != nil {
		return &trouble{err}
	}
	return nil
}

// allowance is what the runtime of a shared process should know of its limits.
func (p *process) allowance() (memory int64, cores int) {
	l := p.limit()
	return confine.Garbage(l.Memory), int(math.Ceil(l.CPU))
}

// last reports whether r is the only run left; then nobody comes any more.
func (p *process) last(r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.runs) == 1 && p.runs[r.s.name] == r
	p.closed, p.parting = p.closed || last, p.parting || last
	return last
}

// broken reports whether it ended otherwise than it should.
func (p *process) broken() bool {
	p.mu.Lock()
	parting := p.parting
	p.mu.Unlock()
	return !parting && p.doomed()
}

// leave takes a run out. The last one ends the process, before it goes: the rest of the books is its.
func (p *process) leave(r *run) {
	p.mu.Lock()
	here := p.runs[r.s.name] == r
	last := here && len(p.runs) == 1
	if here && !last {
		delete(p.runs, r.s.name)
	}
	p.closed = p.closed || last
	p.mu.Unlock()
	if !here {
		return
	}
	if last {
		defer func() {
			p.mu.Lock()
			delete(p.runs, r.s.name)
			p.mu.Unlock()
		}()
	}
	if p.shared() {
		if last {
			p.host.forgetPack(p)
			p.giveUp()
		}
		select {
		case <-p.up:
			if p.err != nil {
				return // it was never started, or ended at its start
			}
		default:
			if last {
				p.host.running.Go(func() { <-p.up; p.end() })
			}
			return
		}
	}
	if last || p.doomed() {
		p.end()
	}
}

func (h *Host) forgetPack(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.packs[p.pack] == p {
		delete(h.packs, p.pack)
	}
}

// apportion splits what a shared process has used of the processor since the last time, by how long the calls of each instance
// have taken since then; what was used while nobody had a call is everybody's.
func (p *process) apportion(worked map[string]time.Duration) {
	spent, err := spentBy(p.proc.PID())
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	weights := map[*run]time.Duration{}
	for name, r := range p.runs {
		if total, ok := worked[name]; ok {
			weights[r] = max(total-r.worked, 0)
			r.worked = total
		}
	}
	p.share(spent, weights)
}

// splitRest splits what is left of a process that has ended as what was before.
func (p *process) splitRest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	weights := map[*run]time.Duration{}
	for _, r := range p.runs {
		weights[r] = r.part
	}
	p.share(p.cpuTime(), weights)
}

// share runs under mu.
func (p *process) share(spent time.Duration, weights map[*run]time.Duration) {
	delta := spent - p.split
	if delta <= 0 || len(p.runs) == 0 {
		return
	}
	p.split = spent
	sum := time.Duration(0)
	for _, w := range weights {
		sum += w
	}
	for _, r := range p.runs {
		part := 1 / float64(len(p.runs))
		if sum > 0 {
			part = float64(weights[r]) / float64(sum)
		}
		r.part += time.Duration(part * float64(delta))
	}
}

// --- whose fault an end is ---

// verdict is what the end of a process means for one of its runs.
type verdict uint8

const (
	guilty      verdict = iota
	innocent            // it was somebody else
	unexplained         // nobody knows who it was
)

// judge says what the end of the process means for r. It is the fault of whoever paniced, or missed a deadline; when that is not
// known, of all who were at work.
func (p *process) judge(r *run) verdict {
	if !p.shared() {
		return guilty
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crowd == 0 {
		p.crowd = len(p.runs)
	}
	for _, other := range p.runs {
		p.struck = p.struck || other.atWork()
	}
	switch {
	case p.crowd == 1, p.culprit == r, p.culprit == nil && r.atWork():
		return guilty
	case p.culprit == nil && !p.struck:
		return unexplained
	}
	return innocent
}

// atWork reports whether the run had a call to answer when its process ended.
func (r *run) atWork() bool { return r.struck.Load() || r.calls.Load() > 0 }

// draggedError says that a process ended that an instance shared, and that it was the fault of another.
type draggedError struct{ reason string }

func (e *draggedError) Error() string { return e.reason }

func dragged(err error) bool { return errors.As(err, new(*draggedError)) }
