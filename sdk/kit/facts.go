package kit

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// factSamples are how many facts of each kind a plugin is shown.
const factSamples = 300

// sampleFacts returns frames of facts of a kind, as parsers give them, with an empty one and an impossible one at the end.
func sampleFacts(kind string, size int) [][]byte {
	switch kind {
	case sdk.FactsDNS:
		return facts(size, func(i int, at sdk.Seen) sdk.DNS {
			name := fmt.Sprintf("host%d.example.com", i%40)
			return sdk.DNS{Seen: at, Protocol: "dns", ID: uint16(i), Response: i%2 == 1, Query: name, QType: 1, QClass: 1, Questions: 1, RecursionDesired: true,
				Answers: []string{"192.0.2.1"}[:i%2], AnswerTypes: []uint64{1}[:i%2], AnswerTTLs: []uint64{60}[:i%2], AnswerNames: []string{name}[:i%2], Length: 64}
		}, sdk.DNS{Query: hostile, Answers: []string{hostile, ""}, AnswerTypes: []uint64{math.MaxUint64}, RCode: math.MaxUint16, Length: math.MaxUint32})
	case sdk.FactsTLS:
		return facts(size, func(i int, at sdk.Seen) sdk.TLS {
			name := fmt.Sprintf("host%d.example.com", i%40)
			return sdk.TLS{Seen: at, Protocol: "tls", Version: 0x0304, Offered: 0x0304, Cipher: 0x1301, ServerName: name, ALPN: "h2", ALPNs: []string{"h2", "http/1.1"},
				Ciphers: []uint64{0x1301, 0x1302}, JA3: "0cc175b9c0f1b6a831c399e269772661", Names: []string{name}, KeyType: "RSA", KeyBits: 2048}
		}, sdk.TLS{ServerName: hostile, ALPNs: []string{""}, Names: []string{hostile}, Version: math.MaxUint16, NotAfter: time.Unix(0, math.MaxInt64)})
	case sdk.FactsHTTP:
		return facts(size, func(i int, at sdk.Seen) sdk.HTTP {
			return sdk.HTTP{Seen: at, Version: "1.1", Number: 1, Method: "GET", Host: "www.example.com", Target: fmt.Sprintf("/%d", i), UserAgent: "sample/1",
				RequestHeaders: []string{"Accept: */*"}, Status: 200, Software: "sample", ContentType: "text/html", ResponseLength: 1234}
		}, sdk.HTTP{Target: hostile, RequestHeaders: []string{hostile, ":"}, RequestLength: -1, ResponseLength: math.MaxInt64, ResponseTime: math.Inf(1)})
	case sdk.FactsSMB:
		return facts(size, func(i int, at sdk.Seen) sdk.SMB {
			return sdk.SMB{Seen: at, Version: 2, Command: 5, Name: "create", MessageID: uint64(i), Session: 1, Tree: 1, Share: `\\files\public`, File: fmt.Sprintf("%d.txt", i)}
		}, sdk.SMB{File: hostile, User: hostile, Status: math.MaxUint32, Dialects: []uint64{math.MaxUint64}})
	case sdk.FactsDHCP:
		return facts(size, func(i int, at sdk.Seen) sdk.DHCP {
			return sdk.DHCP{Seen: at, Version: 4, Type: 3, Name: "request", XID: uint32(i), MAC: fmt.Sprintf("02:00:00:00:00:%02x", i%40), Requested: addr(10, 0, 0, byte(i%40)),
				Hostname: fmt.Sprintf("host%d", i%40), Parameters: []byte{1, 3, 6, 15}}
		}, sdk.DHCP{Hostname: hostile, MAC: hostile, Parameters: make([]byte, 255), Routers: []string{hostile}})
	case sdk.FactsARP:
		return facts(size, func(i int, at sdk.Seen) sdk.ARP {
			mac := fmt.Sprintf("02:00:00:00:00:%02x", i%40)
			return sdk.ARP{Seen: at, Protocol: "arp", Operation: "reply", SourceMAC: mac, SenderMAC: mac, SenderIP: addr(10, 0, 0, byte(i%40)), TargetIP: addr(10, 0, 0, 1)}
		}, sdk.ARP{Operation: hostile, SenderMAC: hostile})
	case sdk.FactsOT:
		return facts(size, func(i int, at sdk.Seen) sdk.OT {
			return sdk.OT{Seen: at, Protocol: "modbus", Function: 3, Name: "read holding registers", Action: "read", Unit: "1", Address: uint64(i), Quantity: 2,
				Details: map[string]string{"transaction": fmt.Sprint(i)}}
		}, sdk.OT{Name: hostile, Address: math.MaxUint64, Quantity: math.MaxUint32, Details: map[string]string{"": hostile}})
	case sdk.FactsFiles:
		return facts(size, func(i int, at sdk.Seen) sdk.File {
			return sdk.File{Seen: at, Protocol: "http", Name: fmt.Sprintf("%d.pdf", i), Type: "application/pdf", Size: 1000, Expected: 1000, Complete: true,
				SHA256: strings.Repeat("a1", 32), Entropy: 7.5, Begin: []byte("%PDF-1.7")}
		}, sdk.File{Name: hostile, Size: math.MaxUint64, Entropy: math.NaN()})
	case sdk.FactsLogins:
		return facts(size, func(i int, at sdk.Seen) sdk.Login {
			return sdk.Login{Seen: at, Protocol: "ftp", User: fmt.Sprintf("user%d", i%5), Method: "PASS", Result: []string{"failure", "success"}[i%2], Clear: true, Code: "530"}
		}, sdk.Login{User: hostile, Result: hostile})
	case sdk.FactsContents:
		return facts(size, func(i int, at sdk.Seen) sdk.Content {
			data := []byte(fmt.Sprintf("%%PDF-1.7 %d", i))
			return sdk.Content{Seen: at, Protocol: "http", Name: fmt.Sprintf("%d.pdf", i), Type: "application/pdf", Size: uint64(len(data)), Complete: true,
				SHA256: strings.Repeat("a1", 32), MD5: strings.Repeat("a1", 16), Data: data}
		}, sdk.Content{Name: hostile, Size: math.MaxUint64, Data: []byte(hostile)})
	case sdk.FactsMessages:
		return facts(size, func(i int, at sdk.Seen) sdk.Message {
			return sdk.Message{Seen: at, Protocol: "ssh", Name: "banner", Text: "SSH-2.0-sample", Fields: map[string]string{"software": "sample"}}
		}, sdk.Message{Protocol: hostile, Text: hostile, Fields: map[string]string{"": hostile}})
	}
	return nil
}

// hostile is a text that no parser should take for anything.
var hostile = "\x00\x1b[2J\xff../../" + strings.Repeat("x", 2000)

func facts[T records.Fact](size int, typical func(int, sdk.Seen) T, odd T) [][]byte {
	list := make([]T, 0, factSamples+2)
	for i := range factSamples {
		list = append(list, typical(i, sdk.Seen{
			Flow: uint64(i + 1), Packet: uint64(2*i + 1), Time: time.Date(2026, 3, 1, 12, 0, i, 0, time.UTC), Client: addr(10, 0, 0, byte(i%40)), Server: addr(192, 0, 2, 10),
			ClientPort: uint16(40000 + i), ServerPort: 443, Proto: sdk.ProtoTCP, FromServer: i%2 == 1,
		}))
	}
	var none T
	return cut(append(list, none, odd), size, records.AppendFacts)
}
