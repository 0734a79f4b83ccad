package inventory

import (
	"strings"
	"time"
	"unicode"
)

// surveyed is how long ago a device may have been seen last to count in a survey.
const surveyed = 30 * 24 * time.Hour

// Survey counts devices by what is known of them. Names are in lower case and as plugins write them among their tags.
type Survey struct {
	Speak   map[string]int // by the name of the Protocol
	Makers  map[string]int // by the first word of the maker's name
	Roles   map[string]int // by what they are: one of Roles
	Systems map[string]int // by what they run: linux, windows or darwin

	Nameless  int // have an address and no name
	Makerless int // have a hardware address of a maker that nobody looked up
}

// Roles are what a device can be, each with the words for one and for several.
var Roles = map[string][2]string{
	"access-point": {"access point", "access points"}, "camera": {"camera", "cameras"}, "firewall": {"firewall", "firewalls"},
	"gateway": {"gateway", "gateways"}, "hypervisor": {"hypervisor", "hypervisors"}, "nas": {"storage device", "storage devices"},
	"phone": {"telephone", "telephones"}, "plc": {"controller", "controllers"}, "printer": {"printer", "printers"}, "router": {"router", "routers"},
	"switch": {"switch", "switches"}, "tv": {"television", "televisions"}, "ups": {"uninterruptible power supply", "uninterruptible power supplies"},
}

// The facts by which discoveries say what a device is.
var roleFacts = []string{"role", "type", "device_type"}

// NewSurvey returns a survey without devices.
func NewSurvey() *Survey {
	return &Survey{Speak: map[string]int{}, Makers: map[string]int{}, Roles: map[string]int{}, Systems: map[string]int{}}
}

// Add counts a device that was seen within the last month.
func (s *Survey) Add(d Device, now time.Time) {
	if now.Sub(d.LastSeen) > surveyed {
		return
	}
	for p := range spoken(d) {
		s.Speak[p.Name]++
	}
	if maker := firstWord(d.Vendor); maker != "" {
		s.Makers[maker]++
	} else if hasMaker(d.MACs) {
		s.Makerless++
	}
	if len(d.IPs) > 0 && len(d.Hostnames) == 0 {
		s.Nameless++
	}
	for role := range roles(d) {
		s.Roles[role]++
	}
	switch system := strings.ToLower(d.Facts["os"].Value); system {
	case "linux", "windows", "darwin":
		s.Systems[system]++
	}
}

func roles(d Device) map[string]bool {
	out := map[string]bool{}
	for _, name := range roleFacts {
		for _, w := range strings.FieldsFunc(strings.ToLower(d.Facts[name].Value), func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
			if _, ok := Roles[w]; ok {
				out[w] = true
			}
		}
	}
	return out
}

// firstWord is how a maker is known: "Ubiquiti Inc." and "Ubiquiti Networks" are one.
func firstWord(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' })
	if len(words) == 0 || len(words[0]) > 40 {
		return ""
	}
	return words[0]
}

// hasMaker reports whether an address was given by a maker: telephones make up their own, with the second bit set.
func hasMaker(macs []string) bool {
	for _, mac := range macs {
		if len(mac) > 1 && strings.ContainsRune("014589cd", rune(mac[1])) {
			return true
		}
	}
	return false
}
