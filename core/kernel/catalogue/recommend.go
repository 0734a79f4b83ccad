package catalogue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	maxRecommended = 6
	deviceLook     = 5000 // devices that are looked at
)

// knownPorts are the protocols that plugins are made for, by the port where they usually answer.
var knownPorts = map[string]string{
	"21": "ftp", "22": "ssh", "23": "telnet", "25": "smtp", "53": "dns", "80": "http", "102": "s7", "123": "ntp", "161": "snmp", "389": "ldap",
	"443": "tls", "445": "smb", "502": "modbus", "514": "syslog", "554": "rtsp", "623": "ipmi", "830": "netconf", "1433": "mssql", "1883": "mqtt",
	"3306": "mysql", "3389": "rdp", "4840": "opcua", "5060": "sip", "5432": "postgresql", "5900": "vnc", "6379": "redis", "8883": "mqtt",
	"9100": "prometheus", "20000": "dnp3", "44818": "ethernet-ip", "47808": "bacnet",
}

// serviceFacts are names of facts whose values tell what a device answers.
var serviceFacts = []string{"service", "services", "protocol", "protocols", "port", "ports", "open_ports"}

// recommend names what fits the devices that were discovered and is not installed yet.
func (c *Catalogue) recommend(ctx context.Context, shop Shop, have map[string]*Presence) ([]Recommendation, error) {
	out := []Recommendation{}
	said, unnamed, err := c.answered(ctx)
	if err != nil {
		return out, err
	}
	words := make([]string, 0, len(said))
	for w := range said {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		if said[a] != said[b] {
			return said[b] - said[a]
		}
		return strings.Compare(a, b)
	})
	seen := map[string]bool{}
	find := func(q MarketQuery, why string) error {
		q.Sort, q.Limit = "installs", 10
		p, err := shop.Search(ctx, q)
		for _, h := range p.Items {
			if have[h.ID] != nil || seen[h.ID] || h.Revoked != "" || h.Yanked != "" || len(out) == maxRecommended {
				continue
			}
			seen[h.ID] = true
			out = append(out, Recommendation{Plugin: h, Because: why})
		}
		return err
	}
	for _, w := range words {
		if err := find(MarketQuery{Tag: w}, devices(said[w], "answers", "answer")+" "+strings.ToUpper(w)); err != nil {
			return out, err
		}
	}
	if unnamed > 0 {
		return out, find(MarketQuery{Tag: "dns", Kind: string(sdk.KindDiscovery)}, devices(unnamed, "has", "have")+" no name")
	}
	return out, nil
}

func devices(n int, one, many string) string {
	if n == 1 {
		return "1 device " + one
	}
	return fmt.Sprintf("%d devices %s", n, many)
}

// answered counts devices by the protocols that they were seen to answer, and those that nobody knows a name of.
func (c *Catalogue) answered(ctx context.Context) (out map[string]int, unnamed int, err error) {
	out = map[string]int{}
	known := map[string]bool{}
	for _, protocol := range knownPorts {
		known[protocol] = true
	}
	looked := 0
	for cursor := ""; looked < deviceLook; {
		list, next, err := c.cfg.Store.ListDevices(ctx, c.cfg.Tenant, store.Page{Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, 0, err
		}
		looked += len(list)
		for _, d := range list {
			if len(d.IPs) > 0 && len(d.Hostnames) == 0 {
				unnamed++
			}
			for protocol := range spoken(d, known) {
				out[protocol]++
			}
		}
		if next == "" {
			break
		}
		cursor = next
	}
	return out, unnamed, nil
}

// spoken are the protocols that the facts of a device name.
func spoken(d store.Device, known map[string]bool) map[string]bool {
	out := map[string]bool{}
	for name, fact := range d.Facts {
		if !slices.Contains(serviceFacts, name) {
			continue
		}
		words := strings.FieldsFunc(strings.ToLower(fact.Value), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' })
		for _, w := range words {
			if p, ok := knownPorts[w]; ok {
				w = p
			}
			if known[w] {
				out[w] = true
			}
		}
	}
	return out
}
