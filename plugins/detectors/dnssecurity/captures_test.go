package dnssecurity

import (
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnscase"
)

const (
	ms = time.Millisecond
	s  = time.Second
	m  = time.Minute
)

var (
	client   = netip.MustParseAddr("10.0.0.66")
	other    = netip.MustParseAddr("10.0.0.7")
	resolver = netip.MustParseAddr("10.0.0.1")
	victim   = netip.MustParseAddr("203.0.113.99")

	lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// The captures of the cases are made here, so that a case can be read in its source.
func TestCapturesAreFresh(t *testing.T) {
	dnscase.Check(t, map[string]func(*dnscase.Capture){
		"amplification":      amplification,
		"reflected":          reflected,
		"random-names":       randomNames,
		"burst":              burst,
		"failures":           failures,
		"fast-flux":          fastFlux,
		"rebinding":          rebinding,
		"listed":             quiet,
		"quiet":              quiet,
		"quiet-failures":     quietFailures,
		"quiet-missing":      quietMissing,
		"quiet-big-answers":  quietBigAnswers,
		"quiet-many-servers": quietManyServers,
	})
}

func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func data(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func address(b ...byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }

// texts are records that make an answer large.
func texts(r *rand.Rand, n int) (out []dnscase.Record) {
	for range n {
		out = append(out, dnscase.Record{Type: dnscase.TXT, TTL: 3600, Data: dnscase.Text(lower32.EncodeToString(data(r, 120)))})
	}
	return out
}

// amplification lets somebody ask our open resolver in the name of a victim.
func amplification(c *dnscase.Capture) {
	r := random()
	big := texts(r, 12)
	for i := range 60 {
		c.Ask(time.Duration(i)*50*ms, dnscase.Exchange{Client: victim, Server: resolver, Name: "example.org", Type: dnscase.ANY, Answers: big})
	}
	browse(c, r, other, 20)
}

// reflected is what the victim sees: answers from everywhere that it never asked for.
func reflected(c *dnscase.Capture) {
	big := texts(random(), 8)
	for i := range 80 {
		c.Ask(time.Duration(i)*20*ms, dnscase.Exchange{Client: victim, Server: address(198, 51, 100, byte(i%40)), Name: "example.org", Type: dnscase.TXT, Answers: big, Unasked: true, Port: 33000})
	}
}

// randomNames asks for names that nobody has, so that the domain's servers have to say so.
func randomNames(c *dnscase.Capture) {
	r := random()
	for i := range 200 {
		c.Ask(time.Duration(i)*100*ms, dnscase.Exchange{Client: address(10, 0, 1, byte(i%5)), Server: resolver, Name: lower32.EncodeToString(data(r, 6)) + ".www.example.org", Type: dnscase.A,
			Code: []uint8{dnscase.NXDomain, dnscase.NXDomain, dnscase.ServFail}[i%3]})
	}
	browse(c, r, other, 20)
}

// burst is a flood that was hardly begun: the names are words, but nobody types so fast, and none of them exists.
func burst(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 20)
	words := strings.Fields("mail admin test dev stage vpn portal shop blog news static files beta proxy stats")
	for i := range 30 {
		c.Ask(time.Duration(i)*300*ms, dnscase.Exchange{Client: client, Server: resolver, Name: fmt.Sprintf("%s%d.example.org", words[i%len(words)], i), Type: dnscase.A, Code: dnscase.NXDomain})
	}
}

// quietMissing is a program that tries all machines of a site, of which most are gone, and one that does so slowly where all are.
func quietMissing(c *dnscase.Capture) {
	for i := range 25 {
		e := dnscase.Exchange{Client: client, Server: resolver, Name: fmt.Sprintf("desk%d.example.org", i), Type: dnscase.A, Code: dnscase.NXDomain}
		if i%12 == 7 {
			e.Code, e.Answers = 0, []dnscase.Record{dnscase.Address(address(10, 0, 0, byte(i)))}
		}
		c.Ask(time.Duration(i)*300*ms, e)
		c.Ask(time.Duration(i)*3*s, dnscase.Exchange{Client: other, Server: resolver, Name: fmt.Sprintf("node%d.example.net", i), Type: dnscase.A, Code: dnscase.NXDomain})
	}
}

// failures is a program that goes through names of its own making, among pages that load.
func failures(c *dnscase.Capture) {
	r := random()
	for i := range 120 {
		c.Ask(time.Duration(i)*s, dnscase.Exchange{Client: client, Server: resolver, Name: lower32.EncodeToString(data(r, 8)) + []string{".com", ".net", ".info"}[i%3], Type: dnscase.A, Code: dnscase.NXDomain})
	}
	browse(c, r, client, 25)
}

// fastFlux points to another five machines each time.
func fastFlux(c *dnscase.Capture) {
	r := random()
	for i := range 6 {
		var answers []dnscase.Record
		for range 5 {
			one := dnscase.Address(address(byte(11+r.IntN(180)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))))
			one.TTL = 120
			answers = append(answers, one)
		}
		c.Ask(time.Duration(i)*3*m, dnscase.Exchange{Client: client, Server: resolver, Name: "shop.example.com", Type: dnscase.A, Answers: answers})
	}
	browse(c, r, other, 20)
}

// rebinding points outside, then inside.
func rebinding(c *dnscase.Capture) {
	for i, to := range []netip.Addr{victim, address(192, 168, 1, 1)} {
		one := dnscase.Address(to)
		one.TTL = 1
		c.Ask(time.Duration(i)*20*s, dnscase.Exchange{Client: client, Server: resolver, Name: "a.rebind.example.com", Type: dnscase.A, Answers: []dnscase.Record{one}})
	}
}

// browse asks for what people ask for; a name in ten is gone.
func browse(c *dnscase.Capture, r *rand.Rand, from netip.Addr, sites int) {
	words := strings.Fields("static images api login shop news mail cdn video assets telemetry accounts weather forum wiki docs")
	for i := range sites {
		e := dnscase.Exchange{Client: from, Server: resolver, Name: fmt.Sprintf("%s.%s-%s.com", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))]), Type: dnscase.A}
		if i%10 == 9 {
			e.Code = dnscase.NXDomain
		} else {
			e.Answers = []dnscase.Record{dnscase.Address(address(203, 0, 113, byte(r.IntN(256))))}
		}
		c.Ask(time.Duration(i)*2*s+7*ms, e)
	}
}

// quiet is ordinary lookups, of whom some ask another resolver, and names of the site.
func quiet(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 150)
	for i := range 20 {
		at := time.Duration(i) * 20 * s
		c.Ask(at, dnscase.Exchange{Client: client, Server: address(198, 51, 100, 53), Name: "updates.example.com", Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(victim)}})
		// The site's names point inside, always.
		c.Ask(at+ms, dnscase.Exchange{Client: client, Server: resolver, Name: "intranet.example.com", Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(address(10, 0, 0, 20))}})
		// A filter and an open resolver disagree about one name: one points nowhere, the other outside.
		for j, to := range []netip.Addr{address(0, 0, 0, 0), victim} {
			one := dnscase.Address(to)
			one.TTL = 2
			c.Ask(at+time.Duration(j)*s, dnscase.Exchange{Client: client, Server: address(198, 51, 100, byte(60+j)), Name: "ads.example.com", Type: dnscase.A, Answers: []dnscase.Record{one}})
		}
	}
}

// quietFailures is names that fail because of how they are asked for.
func quietFailures(c *dnscase.Capture) {
	r := random()
	words := strings.Fields("weather football holiday garden kitchen library museum station airport hospital university chocolate bicycle insurance recipes tickets")
	for i := range 150 {
		at := time.Duration(i) * s
		site := words[r.IntN(len(words))] + "-" + words[r.IntN(len(words))]
		// The search list is tried before the name itself.
		c.Ask(at, dnscase.Exchange{Client: client, Server: resolver, Name: "www." + site + ".com.corp.example.org", Type: dnscase.A, Code: dnscase.NXDomain})
		c.Ask(at+ms, dnscase.Exchange{Client: client, Server: resolver, Name: "www." + site + ".com", Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(address(203, 0, 113, byte(i)))}})
		// A mail server looks addresses and domains up in lists that do not have them, and their names, which few have.
		quad := fmt.Sprintf("%d.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
		c.Ask(at+2*ms, dnscase.Exchange{Client: other, Server: resolver, Name: quad + ".bl.example.net", Type: dnscase.A, Code: dnscase.NXDomain})
		c.Ask(at+3*ms, dnscase.Exchange{Client: other, Server: resolver, Name: site + ".com.uri.example.net", Type: dnscase.A, Code: dnscase.NXDomain})
		c.Ask(at+4*ms, dnscase.Exchange{Client: other, Server: resolver, Name: quad + ".in-addr.arpa", Type: dnscase.PTR, Code: dnscase.NXDomain})
		// A browser asks for names of one label to see whether somebody lies about them.
		if i%30 < 3 {
			c.Ask(at+5*ms, dnscase.Exchange{Client: client, Server: resolver, Name: lower32.EncodeToString(data(r, 7)), Type: dnscase.A, Code: dnscase.NXDomain})
		}
		// The same machine that is gone is asked for all the time.
		c.Ask(at+6*ms, dnscase.Exchange{Client: client, Server: resolver, Name: fmt.Sprintf("printer%d.corp.example.org", i%8), Type: dnscase.A, Code: dnscase.NXDomain})
	}
}

// quietBigAnswers is a resolver that checks signatures: large answers, each to another question.
func quietBigAnswers(c *dnscase.Capture) {
	r := random()
	for i := range 150 {
		c.Ask(time.Duration(i)*200*ms, dnscase.Exchange{Client: resolver, Server: address(198, 51, 100, byte(i%30)), Resolver: true, Type: 48,
			Name: fmt.Sprintf("example%d.com", i), Answers: texts(r, 4)})
	}
	for i := range 20 {
		c.Ask(time.Duration(i)*30*s, dnscase.Exchange{Client: other, Server: resolver, Name: "example.com", Type: dnscase.TXT, Answers: texts(r, 6)})
	}
}

// quietManyServers is names that point to many machines: of one company, of volunteers in a list, behind an alias.
func quietManyServers(c *dnscase.Capture) {
	r := random()
	for i := range 40 {
		at := time.Duration(i) * 30 * s
		var cloud, pool []dnscase.Record
		for range 4 {
			cloud = append(cloud, dnscase.Address(address([]byte{52, 54, 3, 18}[r.IntN(4)], byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)))))
			pool = append(pool, dnscase.Address(address(byte(11+r.IntN(180)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)))))
		}
		alias := append([]dnscase.Record{{Type: dnscase.CNAME, TTL: 30, Data: dnscase.Name("edge.example.net")}}, pool...)
		c.Ask(at, dnscase.Exchange{Client: other, Server: resolver, Name: "api.cloud.example.com", Type: dnscase.A, Answers: cloud})
		c.Ask(at+ms, dnscase.Exchange{Client: other, Server: resolver, Name: "2.pool.ntp.org", Type: dnscase.A, Answers: pool})
		c.Ask(at+2*ms, dnscase.Exchange{Client: other, Server: resolver, Name: "www.shop.example.com", Type: dnscase.A, Answers: alias})
	}
}
