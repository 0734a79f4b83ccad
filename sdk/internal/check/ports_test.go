package check

import (
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func TestPortsAndLinks(t *testing.T) {
	for name, c := range map[string]struct {
		s    sdk.Sighting
		want string
	}{
		"good":                {sdk.Sighting{Ports: []sdk.Port{{Name: "a", MAC: "00:11:22:33:44:55"}}, Links: []sdk.Link{{Port: "a", Name: "b"}}}, ""},
		"a wrong MAC":         {sdk.Sighting{Ports: []sdk.Port{{Name: "a", MAC: "0:1"}}}, "port"},
		"a link to nobody":    {sdk.Sighting{Links: []sdk.Link{{Port: "a", RemotePort: "b"}}}, "no device"},
		"a link to no card":   {sdk.Sighting{Links: []sdk.Link{{Port: "a", MAC: "x"}}}, "link"},
		"too many ports":      {sdk.Sighting{Ports: make([]sdk.Port, maxPorts+1)}, "more than"},
		"too many links":      {sdk.Sighting{Links: make([]sdk.Link, maxLinks+1)}, "more than"},
		"longer than is kept": {sdk.Sighting{Ports: []sdk.Port{{Name: strings.Repeat("x", 300)}}}, ""},
	} {
		s := c.s
		s.MAC, s.Time = "00:11:22:33:44:55", time.Unix(1, 0)
		err := Sighting(&s)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range s.Ports {
			if err == nil && len(p.Name) > maxName {
				t.Errorf("%s: a name of %d", name, len(p.Name))
			}
		}
	}
}
