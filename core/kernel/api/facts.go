package api

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

type flowFactBody struct {
	Kind       string         `json:"kind" enum:"dns,tls,http,smb,dhcp,arp,ot,files,logins,messages"`
	Capture    string         `json:"capture"`
	Number     uint64         `json:"number" doc:"Within the capture, in the order in which facts came."`
	Flow       uint64         `json:"flow" doc:"The id of its flow, 0 for none."`
	Packet     uint64         `json:"packet" doc:"Number in the capture of the packet that completed it."`
	Time       time.Time      `json:"time"`
	Client     string         `json:"client"`
	ClientPort uint16         `json:"client_port"`
	Server     string         `json:"server"`
	ServerPort uint16         `json:"server_port"`
	Proto      string         `json:"proto"`
	VLAN       uint16         `json:"vlan"`
	FromServer bool           `json:"from_server" doc:"Where the fact is one message: its direction."`
	Name       string         `json:"name" doc:"The name in it, if there is one."`
	Fields     map[string]any `json:"fields" doc:"What this kind of fact says; what is empty is left out."`
}

func factOf(f store.FlowFact) flowFactBody {
	return flowFactBody{Kind: f.Kind, Capture: f.Capture, Number: f.Number, Flow: f.Seen.Flow, Packet: f.Seen.Packet, Time: f.Seen.Time.UTC(),
		Client: address(f.Seen.Client), ClientPort: f.Seen.ClientPort, Server: address(f.Seen.Server), ServerPort: f.Seen.ServerPort,
		Proto: sdk.ProtoName(f.Seen.Proto), VLAN: f.Seen.VLAN, FromServer: f.Seen.FromServer, Name: f.Name, Fields: shown(store.FactFields(f.Value))}
}

type flowFactPageBody struct {
	Items      []flowFactBody `json:"items" nullable:"false"`
	NextCursor string         `json:"next_cursor,omitempty" doc:"Send as cursor to get the next page; absent on the last."`
	Incomplete bool           `json:"incomplete,omitempty" doc:"A part of the store could not be read; the server's log says which."`
}

func (s *Server) listFacts(ctx context.Context, in *struct {
	PageQuery
	Kind    string    `query:"kind" required:"true" enum:"dns,tls,http,smb,dhcp,arp,ot,files,logins,messages"`
	Capture []string  `query:"capture" maxItems:"100"`
	Flow    uint64    `query:"flow" doc:"The id of a flow; needs one capture."`
	Host    string    `query:"host" maxLength:"64" doc:"An address or a network on either side."`
	From    time.Time `query:"from" doc:"RFC 3339."`
	To      time.Time `query:"to" doc:"RFC 3339; before this."`
	Text    string    `query:"text" maxLength:"200" doc:"A part of its name."`
}) (*body[flowFactPageBody], error) {
	host, err := network("query.host", in.Host)
	if err != nil {
		return nil, err
	}
	if in.Flow != 0 && len(in.Capture) != 1 {
		return nil, invalidField("query.flow", "needs the one capture that the flow is in")
	}
	p, err := s.cfg.Flows.Facts(ctx, store.FactQuery{Tenant: caller(ctx).Tenant, Kind: in.Kind, Captures: in.Capture, Flow: in.Flow,
		Host: host, From: in.From, To: in.To, Text: in.Text, Page: in.page()})
	return answer(flowFactPageBody{Items: convert(p.Facts, factOf), NextCursor: p.Next, Incomplete: p.Incomplete}), err
}

// Bounds of what is shown of one fact: it may come from an agent that somebody took over.
const (
	shownText  = 2 << 10  // bytes of a text
	shownItems = 256      // of a list
	shownBytes = 64 << 10 // of all fields together, about
)

// shown brings the fields of a fact within the bounds. A number that JSON has no word for is left out.
func shown(fields map[string]any) map[string]any {
	left := shownBytes
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch v := fields[name].(type) {
		case string:
			fields[name] = shortened(v, &left)
		case []byte:
			fields[name] = v[:max(0, min(len(v), shownText, left))]
			left -= len(v)
		case []string:
			list := make([]string, 0, min(len(v), shownItems))
			for _, text := range v[:min(len(v), shownItems)] {
				list = append(list, shortened(text, &left))
			}
			fields[name] = list
		case []uint64:
			fields[name] = v[:min(len(v), shownItems)]
		case map[string]string:
			words := map[string]string{}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if len(words) < shownItems {
					words[shortened(key, &left)] = shortened(v[key], &left)
				}
			}
			fields[name] = words
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				delete(fields, name)
			}
		}
	}
	return fields
}

// shortened cuts a text to what is shown of one and to what is left for all.
func shortened(text string, left *int) string {
	n := max(0, min(len(text), shownText, *left))
	*left -= n
	return strings.ToValidUTF8(text[:n], "\ufffd")
}
