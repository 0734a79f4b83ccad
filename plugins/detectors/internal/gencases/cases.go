package main

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/scenario"
)

const (
	ms = time.Millisecond
	s  = time.Second
	m  = time.Minute
)

var day = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// captures makes the input of every case, by folder.
func captures() map[string][]byte {
	out := map[string][]byte{}
	for name, play := range map[string]func(*scenario.Scenario, *rand.Rand){
		"portscan/testdata/syn-scan":     synScan,
		"portscan/testdata/slow-xmas":    slowXmas,
		"portscan/testdata/horizontal":   horizontal,
		"portscan/testdata/udp-scan":     udpScan,
		"portscan/testdata/ping-sweep":   pingSweep,
		"portscan/testdata/quiet":        quietForPortscan,
		"portscan/testdata/own-limits":   ownLimits,
		"beacon/testdata/exact":          exactBeacon,
		"beacon/testdata/jittered":       jitteredBeacon,
		"beacon/testdata/interrupted":    interruptedBeacon,
		"beacon/testdata/quiet":          quietForBeacon,
		"beacon/testdata/ignored-server": exactBeacon,
		"anomaly/testdata/dns-tunnel":    dnsTunnel,
		"anomaly/testdata/icmp-tunnel":   icmpTunnel,
		"anomaly/testdata/quiet":         quietForAnomaly,
		"spoof/testdata/in-between":      inBetween,
		"spoof/testdata/quiet":           quietForARP,
	} {
		sc := scenario.New(day)
		play(sc, rand.New(rand.NewPCG(1, 2)))
		out[name] = sc.Pcap()
	}
	return out
}

func host(last int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(last)}) }

func outside(last int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(last)}) }

func at(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }

// browse lets a client fetch pages now and then, at random.
func browse(sc *scenario.Scenario, r *rand.Rand, client netip.Addr, until time.Duration, visits int) {
	for range visits {
		begin := time.Duration(r.Int64N(int64(until)))
		server := outside(1 + r.IntN(12))
		for n := range 1 + r.IntN(4) {
			sc.Talk(begin+time.Duration(n)*20*ms, scenario.Conversation{Client: client, Server: server, Port: 443,
				Sent: 300 + r.IntN(900), Got: 1000 + r.IntN(20000), Lasts: 200*ms + time.Duration(r.IntN(2000))*ms})
		}
	}
}

// synScan probes 40 ports of a server: two are open, the rest refuses. Somebody else works on meanwhile.
func synScan(sc *scenario.Scenario, r *rand.Rand) {
	browse(sc, r, host(7), 20*s, 8)
	scanner, victim := host(66), host(20)
	for i, port := range r.Perm(1024)[:40] {
		t := 5*s + time.Duration(i)*10*ms
		if i%20 == 3 {
			port = []int{22, 80}[i/20]
		}
		from, to := at(scanner, 54321), at(victim, port)
		sc.TCP(t, from, to, scenario.SYN, 1, 0)
		if i%20 == 3 {
			sc.TCP(t+ms, to, from, scenario.SYN|scenario.ACK, 1, 0)
			sc.TCP(t+2*ms, from, to, scenario.RST, 2, 0)
		} else {
			sc.TCP(t+ms, to, from, scenario.RST|scenario.ACK, 1, 0)
		}
	}
}

// slowXmas sends one XMAS, NULL or FIN probe every ten minutes: nothing to see within any short time.
func slowXmas(sc *scenario.Scenario, _ *rand.Rand) {
	scanner, victim := outside(200), host(20)
	for i := range 15 {
		flags := []uint8{scenario.FIN | scenario.PSH | scenario.URG, 0, scenario.FIN}[i%3]
		sc.TCP(time.Duration(i)*10*m, at(scanner, 50000+i), at(victim, 20+i), flags, 1, 0)
	}
}

// horizontal looks for file servers: of 24 hosts 18 do not exist, 4 refuse, 2 answer and get used.
func horizontal(sc *scenario.Scenario, r *rand.Rand) {
	browse(sc, r, host(7), 60*s, 10)
	for i := range 24 {
		t, from, to := time.Duration(i)*s, at(host(66), 41000+i), at(host(100+i), 445)
		switch {
		case i%12 == 5:
			sc.Talk(t, scenario.Conversation{Client: from.Addr(), Server: to.Addr(), Port: 445, Sent: 200, Got: 150})
		case i%6 == 1:
			sc.TCP(t, from, to, scenario.SYN, 1, 0)
			sc.TCP(t+ms, to, from, scenario.RST|scenario.ACK, 1, 0)
		default:
			sc.TCP(t, from, to, scenario.SYN, 1, 0)
			sc.TCP(t+s, from, to, scenario.SYN, 1, 0) // the client's system tries again
		}
	}
}

// udpScan probes 30 UDP ports; the victim says of each that nobody listens, but one answers.
func udpScan(sc *scenario.Scenario, _ *rand.Rand) {
	scanner, victim := host(66), host(20)
	for i := range 30 {
		t, from, to := time.Duration(i)*300*ms, at(scanner, 45678), at(victim, 100+37*i)
		sc.UDP(t, from, to, 0)
		if i == 12 {
			sc.UDP(t+ms, to, from, 60)
		} else {
			sc.ICMP(t+ms, victim, scanner, 3, 3, 28)
		}
	}
}

// pingSweep asks 40 addresses, of which every fourth exists.
func pingSweep(sc *scenario.Scenario, _ *rand.Rand) {
	for i := range 40 {
		t := time.Duration(i) * 50 * ms
		sc.ICMP(t, host(66), host(100+i), 8, 0, 56)
		if i%4 == 0 {
			sc.ICMP(t+ms, host(100+i), host(66), 0, 0, 56)
		}
	}
}

// ownLimits probes six ports: too few by default, enough for this case's configuration. A second scanner is ignored by it.
func ownLimits(sc *scenario.Scenario, _ *rand.Rand) {
	for i := range 6 {
		for _, scanner := range []netip.Addr{host(66), host(67)} {
			from, to := at(scanner, 50000+i), at(host(20), 8000+i)
			sc.TCP(time.Duration(i)*s, from, to, scenario.SYN, 1, 0)
			sc.TCP(time.Duration(i)*s+ms, to, from, scenario.RST|scenario.ACK, 1, 0)
		}
	}
}

// quietForPortscan is what looks like scanning and is none.
func quietForPortscan(sc *scenario.Scenario, r *rand.Rand) {
	browse(sc, r, host(7), 5*m, 30)
	// Trackers that a filter refuses, in between pages that load.
	for i := range 8 {
		from, to := at(host(7), 60000+i), at(outside(100+i), 443)
		sc.TCP(time.Duration(i)*9*s, from, to, scenario.SYN, 1, 0)
		sc.TCP(time.Duration(i)*9*s+ms, to, from, scenario.RST|scenario.ACK, 1, 0)
	}
	// Backscatter: somebody floods a server in the name of our addresses.
	for i := range 60 {
		flags := []uint8{scenario.SYN | scenario.ACK, scenario.RST | scenario.ACK}[i%2]
		sc.TCP(time.Duration(i)*s, at(outside(222), 80), at(host(i), 1024+r.IntN(60000)), flags, 1, 0)
	}
	// Traceroute: three datagrams per hop, each to the next port.
	for i := range 60 {
		sc.UDP(time.Duration(i)*100*ms, at(host(8), 47000), at(outside(9), 33434+i), 32)
		sc.ICMP(time.Duration(i)*100*ms+20*ms, outside(150+i/3), host(8), 11, 0, 28)
	}
	// A monitoring system pings what it knows, and looks whether ports take connections.
	for round := range 4 {
		for i := range 30 {
			t := time.Duration(round)*m + time.Duration(i)*50*ms
			sc.ICMP(t, host(9), host(100+i), 8, 0, 56)
			sc.ICMP(t+ms, host(100+i), host(9), 0, 0, 56)
			sc.Talk(t, scenario.Conversation{Client: host(9), Server: host(100 + i), Port: 22})
		}
	}
	// A peer-to-peer client: half its peers are gone, each on a port of its own.
	for i := range 40 {
		peer, port := outside(i), 10000+r.IntN(50000)
		if i%2 == 0 {
			sc.TCP(time.Duration(i)*s, at(host(10), 61000+i), at(peer, port), scenario.SYN, 1, 0)
		} else {
			sc.Talk(time.Duration(i)*s, scenario.Conversation{Client: host(10), Server: peer, Port: uint16(port), Sent: 68, Got: 68})
		}
	}
	// Discovery and name services that speak to everybody.
	for i := range 30 {
		sc.UDP(time.Duration(i)*s, at(host(11), 50000+i), at(netip.AddrFrom4([4]byte{239, 255, 255, 250}), 1900), 170)
		sc.UDP(time.Duration(i)*s, at(host(11), 137), at(host(255), 137), 50)
	}
}

// exactBeacon calls home every minute, to the tenth of a second. Somebody else works on meanwhile.
func exactBeacon(sc *scenario.Scenario, r *rand.Rand) {
	browse(sc, r, host(7), 10*m, 25)
	for i := range 12 {
		sc.Talk(3*s+time.Duration(i)*m+time.Duration(r.IntN(100))*ms,
			scenario.Conversation{Client: host(66), Server: outside(77), Port: 443, Sent: 517 + r.IntN(20), Got: 2900})
	}
}

// jitteredBeacon sleeps for 30 s, give or take 30 %, forty times.
func jitteredBeacon(sc *scenario.Scenario, r *rand.Rand) {
	t := 2 * s
	for range 40 {
		sc.Talk(t, scenario.Conversation{Client: host(66), Server: outside(77), Port: 8080, Sent: 240, Got: 120})
		t += 21*s + time.Duration(r.Int64N(int64(18*s)))
	}
	browse(sc, r, host(66), t, 20)
}

// interruptedBeacon loses beats, and twice talks at length because somebody gave it work.
func interruptedBeacon(sc *scenario.Scenario, r *rand.Rand) {
	for i := range 30 {
		t := time.Duration(i)*20*s + time.Duration(r.IntN(200))*ms
		switch {
		case i%7 == 3: // the machine was asleep
		case i == 11 || i == 20:
			for n := range 4 {
				sc.Talk(t+time.Duration(n)*400*ms, scenario.Conversation{Client: host(66), Server: outside(77), Port: 80, Sent: 30000, Got: 900})
			}
		default:
			sc.Talk(t, scenario.Conversation{Client: host(66), Server: outside(77), Port: 80, Sent: 180, Got: 210})
		}
	}
}

// quietForBeacon is what is regular and no beacon.
func quietForBeacon(sc *scenario.Scenario, r *rand.Rand) {
	browse(sc, r, host(7), 20*m, 60)
	ntp, resolver, group := at(outside(123), 123), at(host(1), 53), at(netip.AddrFrom4([4]byte{224, 0, 0, 251}), 5353)
	for i := range 20 {
		t := time.Duration(i) * m
		sc.Ask(t, at(host(8), 50000+i), ntp, 48, 48)
		sc.Ask(t, at(host(8), 51000+i), resolver, 40, 120)
		sc.UDP(t, at(host(8), 5353), group, 120)
		sc.UDP(t, at(host(8), 514), at(host(2), 514), 200)
		// A load balancer looks whether a port takes connections.
		sc.Talk(t, scenario.Conversation{Client: host(3), Server: host(20), Port: 8443})
	}
	// A monitoring system polls six servers every 30 s.
	for i := range 20 {
		for n := range 6 {
			sc.Talk(time.Duration(i)*30*s+time.Duration(n)*s, scenario.Conversation{Client: host(9), Server: host(100 + n), Port: 9100, Sent: 150, Got: 30000})
		}
	}
	// Somebody guesses passwords as fast as the server lets them: each try takes two seconds.
	for i := range 30 {
		sc.Talk(time.Duration(i)*2*s+time.Duration(r.IntN(30))*ms, scenario.Conversation{Client: host(66), Server: host(21), Port: 21, Sent: 24, Got: 137, Lasts: 1980 * ms})
	}
	// A person reads pages of one site.
	t := time.Duration(0)
	for range 14 {
		t += 5*s + time.Duration(r.ExpFloat64()*float64(40*s))
		sc.Talk(t, scenario.Conversation{Client: host(12), Server: outside(5), Port: 443, Sent: 400 + r.IntN(100), Got: 20000})
	}
}

// dnsTunnel carries a shell in long names, from a single port as such programs do, while others ask for names.
func dnsTunnel(sc *scenario.Scenario, r *rand.Rand) {
	quietForAnomaly(sc, r)
	for i := range 400 {
		sc.Ask(time.Duration(i)*150*ms, at(host(66), 45000), at(outside(77), 53), 200+r.IntN(50), 600+r.IntN(600))
	}
}

// icmpTunnel carries a file in pings.
func icmpTunnel(sc *scenario.Scenario, r *rand.Rand) {
	quietForAnomaly(sc, r)
	for i := range 1500 {
		sc.ICMP(time.Duration(i)*10*ms, host(66), outside(77), 8, 0, 1052)
		sc.ICMP(time.Duration(i)*10*ms+ms, outside(77), host(66), 0, 0, 28)
	}
}

// quietForAnomaly is ordinary pings and questions.
func quietForAnomaly(sc *scenario.Scenario, r *rand.Rand) {
	for i := range 60 {
		sc.Ask(time.Duration(i)*s, at(host(7), 50000+i), at(host(1), 53), 28+r.IntN(40), 60+r.IntN(300))
	}
	for i := range 20 {
		sc.ICMP(time.Duration(i)*s, host(8), host(20), 8, 0, 56)
		sc.ICMP(time.Duration(i)*s+ms, host(20), host(8), 0, 0, 56)
		sc.ICMP(time.Duration(i)*s, host(1), host(8), 3, 3, 60)
	}
}

// lookUp lets a host ask where another is, and hear it.
func lookUp(sc *scenario.Scenario, at time.Duration, from, to int) {
	sc.ARP(at, false, byte(from), host(from), host(to), 0)
	sc.ARP(at+ms, true, byte(to), host(to), host(from), byte(from))
}

// inBetween lets a host tell victim and router, every two seconds, that it is the other one.
func inBetween(sc *scenario.Scenario, r *rand.Rand) {
	quietForARP(sc, r)
	for i := range 15 {
		t := 3*m + time.Duration(i)*2*s
		sc.ARP(t, true, 66, host(1), host(7), 7)
		sc.ARP(t+ms, true, 66, host(7), host(1), 1)
	}
}

// quietForARP is hosts that look for one another, a router that answers for others, and a failover.
func quietForARP(sc *scenario.Scenario, r *rand.Rand) {
	for i := range 100 {
		lookUp(sc, time.Duration(i)*2*s, 5+r.IntN(10), 1+r.IntN(3))
	}
	lookUp(sc, 3*m, 66, 7)
	for i := range 10 {
		t := time.Duration(i)*10*s + 500*ms
		sc.ARP(t, false, 7, host(7), host(20), 0)
		sc.ARP(t+ms, true, 20, host(20), host(7), 7)
		sc.ARP(t+5*ms, true, 1, host(20), host(7), 7)
	}
	lookUp(sc, 1*s, 9, 30)
	for i := range 5 {
		sc.ARP(20*s+time.Duration(i)*s, false, 31, host(30), host(30), 0)
	}
}
