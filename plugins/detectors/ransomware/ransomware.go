// Package ransomware finds hosts that make files on shares unreadable.
//
// In go commands of SMB, out come findings of three rules: "converted", many files got an extension that no program is known to
// give, and were written; "overwritten", many files of many kinds were read and written where they lie; "canary", a file that
// nobody should touch was written, renamed or deleted. README.md has the reasoning.
//
// The reading path: name.go takes paths apart; connection.go follows the files of a connection; client.go adds up what a
// client does; report.go puts it into words.
package ransomware

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleConverted   = "converted"
	RuleOverwritten = "overwritten"
	RuleCanary      = "canary"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	technique := []string{"T1486"}
	return sdk.Plugin{
		ID:      "picket/ransomware",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that make files on shares unreadable.",
		Rules: []sdk.Rule{
			{ID: RuleConverted, Purpose: "A client wrote many files of a share and gave them an extension that no known program gives.", Techniques: technique, Severity: sdk.SeverityHigh,
				FalsePositives: []string{"A program that encrypts or converts whole folders because somebody wants that: name its extension in ordinary."}},
			{ID: RuleOverwritten, Purpose: "A client read and overwrote many files of many kinds where they lie.", Techniques: technique, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A program that changes whole trees of files, such as one that replaces text in them."}},
			{ID: RuleCanary, Purpose: "A client opened a file that nobody should touch, to write, rename or delete it.", Techniques: technique, Severity: sdk.SeverityHigh,
				FalsePositives: []string{"Somebody who tidies up and does not know what the file is for."}},
		},
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsSMB}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Files      int             `json:"files" default:"30" min:"3" max:"100000" doc:"How many files a client must convert within the window; fewer when it also leaves notes, or the extension is a known one."`
	Window     config.Duration `json:"window" default:"10m" min:"10s" max:"24h" doc:"Within what time, as the packets have it."`
	Canaries   []string        `json:"canaries" doc:"Names of files that nobody should touch, with * and ?, without their folders."`
	Ordinary   []string        `json:"ordinary" doc:"Extensions that files may get here, besides the usual ones."`
	Known      []string        `json:"known" default:"locked,lock,encrypted,encrypt,enc,crypt,crypted,crypto,cry,wcry,wncry,wncryt,wnry,lockbit,lockbit3,conti,ryk,ryuk,revil,blackcat,akira,play,phobos,dharma,cerber,zepto,locky,odin,osiris,thor,aesir,zzzzz,djvu,stop,makop,medusa,royal,hive,avos,clop,babyk,cuba,ecc,ezz,exx,vvv,micro,mp3enc,ransom,pay,crinf,crjoker,encrypttile,kraken,darkness,r5a,xtbl,arena,bip,gamma,combo,cezar,java_enc" doc:"Extensions that ransomware has given files, which count more."`
	Ignore     []string        `json:"ignore" format:"cidr" doc:"Clients that may do so: those that back up, convert or encrypt for everybody."`
	MaxClients int             `json:"max_clients" default:"1024" min:"16" max:"100000" doc:"How many pairs of a client and a server, and how many connections, are remembered; the one quiet for longest is judged and forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg             Config
	host            sdk.Host
	ignore          []netip.Prefix
	ordinary, known map[uint32]bool // extensions, by their hashes
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	connections recent.Table[uint64, *connection] // by flow
	clients     recent.Table[clientKey, *client]
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.ignore, d.ordinary, d.known = host, nil, map[uint32]bool{}, map[uint32]bool{}
	for _, text := range d.cfg.Ignore {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", err)
		}
		d.ignore = append(d.ignore, p.Masked())
	}
	for i, glob := range d.cfg.Canaries {
		d.cfg.Canaries[i] = strings.ToLower(glob)
		if _, err := path.Match(glob, ""); err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "canaries: %w", fmt.Errorf("%q: %w", glob, err))
		}
	}
	for extension := range strings.FieldsSeq(usual) {
		d.ordinary[hashOf(extension)] = true
	}
	for _, extension := range d.cfg.Ordinary {
		d.ordinary[hashOf(strings.TrimPrefix(extension, "."))] = true
	}
	for _, extension := range d.cfg.Known {
		d.known[hashOf(strings.TrimPrefix(extension, "."))] = true
	}
	d.memory = newMemory(d.cfg.MaxClients)
	return nil
}

func newMemory(limit int) memory {
	return memory{connections: recent.New[uint64, *connection](limit), clients: recent.New[clientKey, *client](limit)}
}

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.SMB {
		if r := &batch.SMB[i]; r.Flow > 0 && !d.ignored(r.Client) {
			if err := d.command(r, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (d *Detector) ignored(a netip.Addr) bool {
	for i := range d.ignore {
		if d.ignore[i].Contains(a) {
			return true
		}
	}
	return false
}

// command takes a command or an answer.
func (d *Detector) command(r *sdk.SMB, sink sdk.FindingSink) error {
	switch {
	case r.Name == "create" && !r.Response:
		d.connection(r.Flow).ask(r, d.cfg.Canaries)
		return nil
	case r.Name == "set-info" && !r.Response:
		return d.change(r, sink)
	case !r.Response || r.Status != 0:
		return nil
	case r.Name == "create":
		return d.granted(r, sink)
	case r.Name == "read":
		if c, known := d.connections.Get(r.Flow); known {
			c.read()
		}
	case r.Name == "write":
		return d.written(r, sink)
	}
	return nil
}

// connection is what is known of a connection.
func (d *Detector) connection(flow uint64) *connection {
	if c, known := d.connections.Get(flow); known {
		return c
	}
	if old, full := d.connections.Crowded(); full {
		d.connections.Forget(old.flow)
	}
	c := &connection{flow: flow, at: none}
	d.connections.Put(flow, c)
	return c
}

// change takes a new name of the file that was opened last to rename or delete it, or something else of it that is set, as when it
// is deleted.
func (d *Detector) change(r *sdk.SMB, sink sdk.FindingSink) error {
	c, known := d.connections.Get(r.Flow)
	if !known {
		return nil
	}
	old := c.toRename()
	if old == nil {
		return nil
	}
	if r.File == "" {
		return d.deleted(r, c, old, sink)
	}
	old.access &^= mayDelete
	into := read(r.File)
	if into.extension == old.extension || d.isOrdinary(&into) {
		return nil
	}
	return d.convert(r, old, &into, sink)
}

// deleted takes a file that is deleted. It may have been made into another one before.
func (d *Detector) deleted(r *sdk.SMB, c *connection, f *file, sink sdk.FindingSink) error {
	into := c.madeOf(f)
	if into == nil {
		return nil
	}
	into.madeOf = 0
	return d.convert(r, f, &into.name, sink)
}

// granted takes an answer that opens a file.
func (d *Detector) granted(r *sdk.SMB, sink sdk.FindingSink) error {
	c, known := d.connections.Get(r.Flow)
	if !known {
		return nil
	}
	f := c.grant(r.MessageID)
	if f == nil {
		return nil
	}
	if f.canary {
		if err := d.touch(r, f, sink); err != nil {
			return err
		}
	}
	if f.access&mayDelete != 0 && f.access&(reads|writes) == 0 {
		return d.deleted(r, c, f, sink) // perhaps by closing it, which does not show
	}
	return nil
}

// written takes an answer that something was written.
func (d *Detector) written(r *sdk.SMB, sink sdk.FindingSink) error {
	c, known := d.connections.Get(r.Flow)
	if !known {
		return nil
	}
	f := c.last()
	if f == nil || f.wrote {
		return nil
	}
	f.wrote = true
	k, err := d.client(r, sink)
	if err != nil {
		return err
	}
	k.written++
	if f.note {
		k.leave(&f.name, f.text)
	}
	if !d.isOrdinary(&f.name) {
		f.madeOf = c.origin(f)
	}
	if c.hasRead(f) {
		k.overwritten++
		k.kinds.add(f.extension)
		k.folders.add(uint32(f.folder))
		d.evidence(k, r)
	} else if k.converted == 0 {
		return nil
	}
	return d.judge(k, false, sink)
}

// isOrdinary reports whether programs give such an extension, or it is none.
func (d *Detector) isOrdinary(n *name) bool {
	return n.extension == 0 || number(n.text) || d.ordinary[n.extension]
}

// convert adds a file that was made into another one, of an extension that no program gives.
func (d *Detector) convert(r *sdk.SMB, old *file, into *name, sink sdk.FindingSink) error {
	k, err := d.client(r, sink)
	if err != nil {
		return err
	}
	k.converted++
	k.lost.add(old.extension)
	k.gain(into.text)
	k.folders.add(uint32(old.folder))
	d.evidence(k, r)
	return d.judge(k, false, sink)
}

// touch reports a canary.
func (d *Detector) touch(r *sdk.SMB, f *file, sink sdk.FindingSink) error {
	k, err := d.client(r, sink)
	if err != nil {
		return err
	}
	d.evidence(k, r)
	if k.canary == "" {
		k.canary = f.text
	}
	k.canaries++
	return d.judge(k, false, sink)
}

func (d *Detector) evidence(k *client, r *sdk.SMB) {
	k.Add(r.Time.UnixNano(), r.Packet, flowref.Ref{ID: r.Flow, SrcPort: r.ClientPort, DstPort: r.ServerPort})
}

// client is what is known of a client and a server.
func (d *Detector) client(r *sdk.SMB, sink sdk.FindingSink) (*client, error) {
	key, at := clientKey{bare.Of(r.Client), bare.Of(r.Server)}, r.Time.UnixNano()
	k, known := d.clients.Get(key)
	if known && !k.over(at, int64(d.cfg.Window)) {
		k.latest = max(k.latest, at)
		return k, nil
	}
	if known {
		if err := d.judge(k, true, sink); err != nil {
			return nil, err
		}
		*k = client{key: key, begin: at, latest: at}
		return k, nil
	}
	if old, full := d.clients.Crowded(); full {
		if err := d.judge(old, true, sink); err != nil {
			return nil, err
		}
		d.clients.Forget(old.key)
	}
	k = &client{key: key, begin: at, latest: at}
	d.clients.Put(key, k)
	return k, nil
}

// Flush judges everything and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for k := range d.clients.All() {
		if err := d.judge(k, true, sink); err != nil {
			return err
		}
	}
	if n := d.clients.Forgotten + d.connections.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_clients", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxClients)
	return nil
}
