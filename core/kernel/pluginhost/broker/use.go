package broker

import (
	"errors"
	"log/slog"
	"net/netip"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/sdk"
)

// maxUses bounds what is told apart; maxDetail the bytes of one of its names, which a plugin chooses.
const (
	maxUses   = 100
	maxDetail = 256
	// quietTime is how often one more refusal is told after the first maxUses: a plugin that tries everything fills no log,
	// and what it tries then is still named.
	quietTime = time.Minute
)

// Use is what an instance did, or tried, through the broker.
type Use struct {
	Cap         string    `json:"cap"`    // for example "net.dial"
	Detail      string    `json:"detail"` // "tcp db.example.org:5432", a path
	Count       uint64    `json:"count"`  // times allowed
	Denied      uint64    `json:"denied"` // times refused for want of a grant
	BytesIn     uint64    `json:"bytes_in"`
	BytesOut    uint64    `json:"bytes_out"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	LastRefusal string    `json:"last_refusal,omitempty"`
}

// target is what was asked for, in the terms of the grants.
type target struct {
	cap     string
	network string
	host    string // or a path
	port    int
	addr    netip.Addr // what host resolved to, when it was reached
}

func (t target) detail() string {
	switch t.cap {
	case sdk.CapNetDial, sdk.CapNetListen:
		return t.network + " " + joinHostPort(t.host, t.port)
	case sdk.CapNetRaw:
		return "icmp " + t.network
	}
	return t.host
}

// allowedBy reports whether the permission allows it.
func (t target) allowedBy(p sdk.Permission) bool {
	switch t.cap {
	case sdk.CapNetDial:
		return p.AllowsDial(t.network, t.host, t.port) || t.addr.IsValid() && p.AllowsAddr(t.network, t.addr, t.port)
	case sdk.CapNetListen:
		return p.AllowsListen(t.network, t.port)
	case sdk.CapNetRaw:
		return p.AllowsRaw("icmp")
	case sdk.CapUnixConnect:
		return p.AllowsUnix(t.host)
	case sdk.CapFSRead:
		return p.AllowsRead(t.host)
	}
	return false
}

// entry counts the uses of one target. The bytes of connections that go on are counted while they do.
type entry struct {
	target      target
	in, out     atomic.Uint64
	count       uint64
	denied      uint64
	first, last time.Time
	refusal     string
	told        bool // the refusal was logged
}

// uses is the list of what an instance did.
type uses struct {
	now func() time.Time
	log *slog.Logger
	// tell hears of the first refusal for each target.
	tell func(capability, detail string, err error)
	// words bounds what is logged and told.
	words *rate.Limiter

	mu     sync.Mutex // guards all below
	byName map[string]*entry
	more   uint64
	caps   map[string]bool // capabilities of uses that found no room
}

func newUses(now func() time.Time, log *slog.Logger, tell func(capability, detail string, err error)) *uses {
	return &uses{now: now, log: log, tell: tell, words: rate.NewLimiter(rate.Every(quietTime), maxUses), byName: map[string]*entry{}, caps: map[string]bool{}}
}

// allowed counts a use. The entry, never nil, takes the bytes.
func (u *uses) allowed(t target) *entry {
	u.mu.Lock()
	defer u.mu.Unlock()
	e := u.find(t)
	if e == nil {
		u.caps[t.cap] = true
		return &entry{}
	}
	if e.count == 0 {
		e.target = t // with the address that the first one had
	}
	e.count++
	return e
}

// refused counts a refusal, and logs the first for its target, as far as words allow.
func (u *uses) refused(t target, err error) {
	u.mu.Lock()
	e := u.find(t)
	if e == nil {
		e = &entry{} // every place is a real use: it is told, but not listed
	}
	e.denied++
	e.refusal = printable(err.Error())
	tell := !e.told && u.words.AllowN(u.now(), 1)
	e.told = e.told || tell
	u.mu.Unlock()
	if tell {
		u.log.Warn("the plugin was refused what it was not granted", "cap", t.cap, "detail", printable(t.detail()), "error", printable(err.Error()))
		if u.tell != nil {
			u.tell(t.cap, printable(t.detail()), errors.New(printable(err.Error())))
		}
	}
}

// find returns the entry of a target. A new one takes the place of the oldest attempt when there is no room; among real
// uses only there is none.
func (u *uses) find(t target) *entry {
	key := t.cap + " " + t.detail()
	e := u.byName[key]
	if e == nil {
		if len(u.byName) >= maxUses && !u.forgetAttempt() {
			u.more++
			return nil
		}
		e = &entry{target: t, first: u.now()}
		u.byName[key] = e
	}
	e.last = u.now()
	return e
}

// forgetAttempt makes room by what was only tried, and not for the longest time.
func (u *uses) forgetAttempt() bool {
	oldest := ""
	for key, e := range u.byName {
		if e.count == 0 && (oldest == "" || e.last.Before(u.byName[oldest].last)) {
			oldest = key
		}
	}
	if oldest == "" {
		return false
	}
	u.more += u.byName[oldest].denied
	delete(u.byName, oldest)
	return true
}

func (u *uses) list() ([]Use, uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]Use, 0, len(u.byName))
	for _, e := range u.byName {
		out = append(out, Use{
			Cap: e.target.cap, Detail: printable(e.target.detail()), Count: e.count, Denied: e.denied,
			BytesIn: e.in.Load(), BytesOut: e.out.Load(), First: e.first, Last: e.last, LastRefusal: e.refusal,
		})
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Count+a.Denied != b.Count+b.Denied {
			return a.Count+a.Denied > b.Count+b.Denied
		}
		return a.Cap+a.Detail < b.Cap+b.Detail
	})
	return out, u.more
}

func (u *uses) unused(permissions []sdk.Permission) []sdk.Permission {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []sdk.Permission
	for _, p := range permissions {
		if seen[p.Cap] && !u.used(p) {
			out = append(out, p)
		}
	}
	return out
}

// seen are the capabilities whose use passes through the broker.
var seen = map[string]bool{
	sdk.CapNetDial: true, sdk.CapNetListen: true, sdk.CapNetRaw: true, sdk.CapUnixConnect: true, sdk.CapFSRead: true,
}

// used gives the benefit of the doubt to what found no room in the list.
func (u *uses) used(p sdk.Permission) bool {
	if u.caps[p.Cap] {
		return true
	}
	for _, e := range u.byName {
		if e.count > 0 && e.target.cap == p.Cap && e.target.allowedBy(p) {
			return true
		}
	}
	return false
}

// printable makes a text of a plugin fit for a log and a page.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
