package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

// maxChosen is how many machines one request changes.
const maxChosen = 10_000

// AgentQuery narrows a list of machines. Exported because inputs embed it.
type AgentQuery struct {
	Text     string   `query:"q" maxLength:"200" doc:"A part of the name, address, group, system or a label, or eight or more characters of the id."`
	States   []string `query:"state,explode" maxItems:"3" enum:"online,late,offline" doc:"Any of these."`
	Groups   []string `query:"group,explode" maxItems:"50" doc:"Any of these."`
	Systems  []string `query:"system,explode" maxItems:"50" doc:"Any of these: linux, or linux/amd64."`
	Versions []string `query:"version,explode" maxItems:"50" doc:"Any of these."`
	Plugins  []string `query:"plugins,explode" maxItems:"3" enum:"well,failing,none" doc:"Any of these: all of its plugins work, some do not, it has none."`
	Labels   []string `query:"label,explode" maxItems:"20" doc:"All of these: name=value, or a name alone."`
	Sort     string   `query:"sort" maxLength:"20" enum:"name,-name,state,-state,system,-system,version,-version,group,-group,health,-health,seen,-seen" doc:"Without it in the order in which they were enrolled; with a dash, the other way round."`
}

func (s *Server) agentFilter(q AgentQuery) store.AgentFilter {
	return store.AgentFilter{Text: q.Text, States: q.States, Groups: q.Groups, Systems: q.Systems, Versions: q.Versions, Plugins: q.Plugins,
		Labels: q.Labels, Sort: store.AgentSort(q.Sort), State: s.cfg.Agents.State}
}

type agentPageBody struct {
	Items      []agentBody `json:"items" nullable:"false"`
	NextCursor string      `json:"next_cursor,omitempty" doc:"Send as cursor to get the next page; absent on the last."`
	Total      int         `json:"total" doc:"How many there are on all pages."`
}

type countedBody struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

type agentSummaryBody struct {
	Total    int            `json:"total" doc:"How many the filter admits."`
	States   map[string]int `json:"states" doc:"How many of them are online, late and offline, whatever the filter says of states."`
	Groups   []countedBody  `json:"groups" nullable:"false" doc:"Of all machines, as are those below; at most 100 of each, the commonest first."`
	Systems  []countedBody  `json:"systems" nullable:"false"`
	Versions []countedBody  `json:"versions" nullable:"false"`
	Labels   []countedBody  `json:"labels" nullable:"false" doc:"name=value."`
	Plugins  []countedBody  `json:"plugins" nullable:"false" doc:"well, failing, none."`
}

// Chosen are the machines that a request is about. Exported because inputs embed it.
type Chosen struct {
	IDs []string `json:"ids" minItems:"1" maxItems:"10000" uniqueItems:"true" doc:"Machines."`
}

type doneBody struct {
	Done int `json:"done" doc:"How many machines were changed: those of the ids that there are."`
}

type consequencesBody struct {
	Machines    int `json:"machines" doc:"Those of the ids that there are."`
	Online      int `json:"online" doc:"Of those, how many report now, and would be refused."`
	Commands    int `json:"commands" doc:"Orders that wait and would never be handed out."`
	Assignments int `json:"assignments" doc:"Plugins that are enabled on one of them alone, with their settings."`
}

func (s *Server) agentListRoutes() {
	const path = "/api/v1/agents"
	tags := []string{"agents"}
	handle(s, huma.Operation{OperationID: "list-agents", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Enrolled machines"}, s.listAgents)
	handle(s, huma.Operation{OperationID: "summarise-agents", Method: http.MethodGet, Path: path + "/summary", Tags: tags,
		Summary: "How many machines there are of which kind"}, s.summariseAgents)
	handle(s, huma.Operation{OperationID: "list-agent-ids", Method: http.MethodGet, Path: path + "/ids", Tags: tags,
		Summary: "The ids of the machines that a filter admits, at most 10,000"},
		func(ctx context.Context, in *struct{ AgentQuery }) (*body[Chosen], error) {
			ids, err := s.cfg.Control.AgentIDs(ctx, caller(ctx).Tenant, s.agentFilter(in.AgentQuery), maxChosen)
			return answer(Chosen{ids}), err
		})
	handle(s, huma.Operation{OperationID: "export-agents", Method: http.MethodGet, Path: path + "/export", Tags: tags,
		Summary: "The list as a file",
		Responses: map[string]*huma.Response{"200": {Description: "The file.", Content: map[string]*huma.MediaType{
			"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}, "application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString}}}}}},
		s.exportAgents)
	many := func(id, what, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: path + "/many/" + what, Tags: tags, Summary: summary}
	}
	handle(s, many("move-agents", "group", "Put machines into a group; what they run may change with that"), s.moveAgents)
	handle(s, many("label-agents", "labels", "Give machines labels, and take labels away"), s.labelAgents)
	handle(s, many("removal-of-agents", "consequences", "What forgetting machines would take away"),
		func(ctx context.Context, in *struct{ Body Chosen }) (*body[consequencesBody], error) {
			return s.consequences(ctx, in.Body.IDs)
		})
	handle(s, many("remove-agents", "remove", "Forget machines; what they measured stays"), s.removeAgents)
}

func (s *Server) listAgents(ctx context.Context, in *struct {
	PageQuery
	AgentQuery
	Offset int  `query:"offset" minimum:"0" maximum:"1000000" doc:"How many to pass over, for who jumps about in the list. A cursor misses nothing when machines come and go, this may."`
	Brief  bool `query:"brief" doc:"Without the plugins themselves and the queue."`
}) (*body[agentPageBody], error) {
	f := s.agentFilter(in.AgentQuery)
	f.Offset = in.Offset
	found, err := s.cfg.Control.FindAgents(ctx, caller(ctx).Tenant, f, in.page(), !in.Brief)
	if err != nil {
		return nil, err
	}
	page := agentPageBody{NextCursor: found.Next, Total: found.Total}
	if in.Brief {
		page.Items = convert(found.Agents, s.briefly)
	} else {
		page.Items = s.agentsOf(ctx, found.Agents)
	}
	return answer(page), nil
}

func (s *Server) summariseAgents(ctx context.Context, in *struct{ AgentQuery }) (*body[agentSummaryBody], error) {
	got, err := s.cfg.Control.SummariseAgents(ctx, caller(ctx).Tenant, s.agentFilter(in.AgentQuery))
	counted := func(l []store.Counted) []countedBody {
		return convert(l, func(c store.Counted) countedBody { return countedBody(c) })
	}
	return answer(agentSummaryBody{Total: got.Total, States: got.States, Groups: counted(got.Groups), Systems: counted(got.Systems),
		Versions: counted(got.Versions), Labels: counted(got.Labels), Plugins: counted(got.Plugins)}), err
}

// exportedAgents is how many machines a file has at most.
const exportedAgents = 100_000

func (s *Server) exportAgents(ctx context.Context, in *struct {
	AgentQuery
	Format string `query:"format" enum:"json,csv" default:"csv" doc:"json is a line for each (NDJSON)."`
}) (*huma.StreamResponse, error) {
	var out bytes.Buffer
	table, lines := csv.NewWriter(&out), json.NewEncoder(&out)
	if in.Format == "csv" {
		_ = table.Write([]string{"id", "name", "state", "os", "arch", "version", "group", "labels", "address", "last_seen", "enrolled_at", "disabled", "plugins", "failing"}) // into memory
	}
	count := 0
	for p := (store.Page{Limit: 500}); ; {
		found, err := s.cfg.Control.FindAgents(ctx, caller(ctx).Tenant, s.agentFilter(in.AgentQuery), p, false)
		if err != nil {
			s.act(ctx, "agent.export", "agents", in.Format, err)
			return nil, err
		}
		for _, a := range found.Agents {
			if b := s.briefly(a); in.Format == "csv" {
				_ = table.Write(agentRow(b))
			} else {
				_ = lines.Encode(b)
			}
		}
		count += len(found.Agents)
		if p.Cursor = found.Next; p.Cursor == "" || count >= exportedAgents {
			break
		}
	}
	table.Flush()
	s.act(ctx, "agent.export", "agents", fmt.Sprintf("%d machines as %s", count, in.Format), nil)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		name, kind := "machines.ndjson", "application/x-ndjson"
		if in.Format == "csv" {
			name, kind = "machines.csv", "text/csv; charset=utf-8"
		}
		hc.SetHeader("Content-Type", kind)
		hc.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
		_, _ = hc.BodyWriter().Write(out.Bytes())
	}}, nil
}

func agentRow(b agentBody) []string {
	labels := make([]string, 0, len(b.Labels))
	for k, v := range b.Labels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	seen := ""
	if b.LastSeen != nil {
		seen = b.LastSeen.Format(time.RFC3339)
	}
	row := []string{b.ID, b.Name, b.State, b.OS, b.Arch, b.Version, b.Group, strings.Join(labels, " "), b.Address, seen,
		b.Enrolled.Format(time.RFC3339), strconv.FormatBool(b.Disabled), strconv.Itoa(b.PluginCount), strconv.Itoa(b.Failing)}
	for i := range row {
		row[i] = noFormula(row[i])
	}
	return row
}

func (s *Server) moveAgents(ctx context.Context, in *struct {
	Body struct {
		Chosen
		Group string `json:"group" minLength:"1" maxLength:"40" pattern:"^[a-z0-9][a-z0-9-]*$" doc:"all, or a name in lower-case letters, digits and dashes."`
	}
}) (*body[doneBody], error) {
	done, err := s.cfg.Catalogue.SetGroups(ctx, caller(ctx).Tenant, in.Body.IDs, in.Body.Group)
	return s.changedMany(ctx, "agent.group", in.Body.Group, done, err)
}

func (s *Server) labelAgents(ctx context.Context, in *struct {
	Body struct {
		Chosen
		Set    map[string]string `json:"set,omitempty" maxProperties:"32" doc:"Labels by name; those of the same name are replaced."`
		Remove []string          `json:"remove,omitempty" maxItems:"32" doc:"Names of labels."`
	}
}) (*body[doneBody], error) {
	for name, value := range in.Body.Set {
		if name == "" || len(name) > 100 || len(value) > 200 || strings.ContainsAny(name, "=\n") {
			return nil, invalidField("body.set", "a label has a name of at most 100 bytes without an equals sign, and a value of at most 200")
		}
	}
	if len(in.Body.Set)+len(in.Body.Remove) == 0 {
		return nil, invalidField("body.set", "say which labels to set or to remove")
	}
	done, err := s.cfg.Control.LabelAgents(ctx, caller(ctx).Tenant, in.Body.IDs, in.Body.Set, in.Body.Remove)
	what, _ := json.Marshal(map[string]any{"set": in.Body.Set, "remove": in.Body.Remove})
	return s.changedMany(ctx, "agent.label", string(what), done, err)
}

func (s *Server) removeAgents(ctx context.Context, in *struct{ Body Chosen }) (*body[doneBody], error) {
	done, err := s.cfg.Control.DeleteAgents(ctx, caller(ctx).Tenant, in.Body.IDs)
	return s.changedMany(ctx, "agent.delete", "", done, err)
}

func (s *Server) consequences(ctx context.Context, ids []string) (*body[consequencesBody], error) {
	tenant := caller(ctx).Tenant
	what, err := s.cfg.Control.ConsequencesOf(ctx, tenant, ids)
	if err != nil {
		return nil, err
	}
	online, err := s.cfg.Control.AgentIDs(ctx, tenant, s.agentFilter(AgentQuery{States: []string{"online"}}), exportedAgents)
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(online))
	for _, id := range online {
		there[id] = true
	}
	out := consequencesBody{Machines: what.Agents, Commands: what.Commands, Assignments: what.Assignments}
	for _, id := range ids {
		if there[id] {
			out.Online++
		}
	}
	return answer(out), nil
}

// namedAtOnce is how many machines one line of the audit log names.
const namedAtOnce = 20

// changedMany writes down what was done to which machines, also when not all of it was, and tells who watches.
func (s *Server) changedMany(ctx context.Context, action, what string, done []string, err error) (*body[doneBody], error) {
	if len(what) > 200 {
		what = strings.ToValidUTF8(what[:200], "") + "…"
	}
	for part := range slices.Chunk(done, namedAtOnce) {
		s.act(ctx, action, "agents", strings.TrimSpace(what+" "+strings.Join(part, " ")), nil)
	}
	if len(done) > 0 {
		s.cfg.Live.Publish(caller(ctx).Tenant, "plugins", map[string]int{"agents": len(done)})
	}
	if err == nil && len(done) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		s.act(ctx, action, "agents", what, err)
		return nil, err
	}
	return answer(doneBody{len(done)}), nil
}
