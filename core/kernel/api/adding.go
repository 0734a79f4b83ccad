package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
)

type progressBody struct {
	State    string         `json:"state" enum:"waiting,enrolled,measuring,ended" doc:"waiting: nobody came with the token; enrolled: a machine is let in; measuring: its first sample is stored; ended: nobody came, and nobody can any more."`
	Expires  time.Time      `json:"expires"`
	Uses     int            `json:"uses"`
	MaxUses  int            `json:"max_uses"`
	Machines []addedMachine `json:"machines" nullable:"false" doc:"The newest first, at most 20."`
	Seen     []seenBody     `json:"seen" nullable:"false" doc:"What this server saw since the token was made that may be why it takes so long, newest first, at most 10."`
}

type addedMachine struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	Enrolled time.Time `json:"enrolled_at"`
	State    string    `json:"state" enum:"online,late,offline"`
	Series   int       `json:"series" doc:"How many series it has sent samples of."`
}

type seenBody struct {
	What    string    `json:"what" enum:"fetched,token,clock,signature,refused" doc:"fetched: somebody downloaded the agent; the others are refusals."`
	Detail  string    `json:"detail,omitempty"`
	Address string    `json:"address"`
	Time    time.Time `json:"time"`
}

const (
	shownMachines = 20
	shownSeen     = 10
	keptVisits    = 128
)

// visits are the last strangers who fetched what only a new machine fetches.
type visits struct {
	mu   sync.Mutex // guards list
	list []seenBody // oldest first
}

func (v *visits) add(what, address string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.list) == keptVisits {
		v.list = append(v.list[:0], v.list[1:]...)
	}
	v.list = append(v.list, seenBody{What: what, Address: address, Time: at.UTC()})
}

func (v *visits) since(at time.Time) []seenBody {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []seenBody
	for i := len(v.list) - 1; i >= 0 && !v.list[i].Time.Before(at); i-- {
		out = append(out, v.list[i])
	}
	return out
}

func (s *Server) addingRoutes() {
	handle(s, huma.Operation{OperationID: "enrolment-progress", Method: http.MethodGet, Path: "/api/v1/agents/tokens/{id}/progress", Tags: []string{"agents"},
		Summary: "How far the machine is that a token was made for, and what may be in its way"}, s.progress)
}

func (s *Server) progress(ctx context.Context, in *IDPath) (*body[progressBody], error) {
	tenant := caller(ctx).Tenant
	t, err := s.cfg.Control.EnrolmentTokenByID(ctx, tenant, in.ID)
	if err != nil {
		return nil, err
	}
	came, err := s.cfg.Control.Enrolments(ctx, tenant, t.ID, shownMachines)
	if err != nil {
		return nil, err
	}
	out := progressBody{State: "waiting", Expires: t.Expires.UTC(), Uses: t.Uses, MaxUses: t.MaxUses, Machines: []addedMachine{}, Seen: []seenBody{}}
	own := map[string]bool{}
	for _, e := range came {
		a, err := s.agent(ctx, e.AgentID)
		if err != nil {
			continue // forgotten again
		}
		own["agent:"+a.ID] = true
		out.Machines = append(out.Machines, addedMachine{ID: a.ID, Name: a.Name, Address: a.Address, Enrolled: e.Time.UTC(), State: s.cfg.Agents.State(a),
			Series: s.cfg.Telemetry.SeriesCount(tenant, a.ID)})
	}
	switch {
	case len(out.Machines) > 0 && out.Machines[0].Series > 0:
		out.State = "measuring"
		return answer(out), nil
	case len(out.Machines) > 0:
		out.State = "enrolled"
	case !t.Revoked.IsZero() || !s.cfg.Now().Before(t.Expires):
		out.State = "ended"
	}
	out.Seen, err = s.inTheWay(ctx, tenant, t.Created, own)
	return answer(out), err
}

// inTheWay is what was refused since then that may be a new machine, and who came for the agent.
func (s *Server) inTheWay(ctx context.Context, tenant string, since time.Time, own map[string]bool) ([]seenBody, error) {
	refused, _, err := s.cfg.Control.ListAudit(ctx, tenant, store.AuditFilter{Action: "agent.", Outcome: audit.Refused, From: since}, store.Page{Limit: 50})
	if err != nil {
		return nil, err
	}
	out := []seenBody{}
	for _, e := range refused {
		b := seenBody{What: "token", Detail: e.Detail, Address: e.Address, Time: e.Time.UTC()}
		switch {
		case e.Action == "agent.enrol":
		case e.Action == "agent.request" && own[e.Actor]:
			b.What = reasonFor(e.Detail)
		default:
			continue
		}
		out = append(out, b)
	}
	if tenant == store.DefaultTenant { // nobody knows whose machines they are; a tenant must not learn of another's
		out = append(out, s.visits.since(since)...)
	}
	return out[:min(shownSeen, len(out))], nil
}

func reasonFor(detail string) string {
	for reason, what := range map[string]string{"stale": "clock", "future": "clock", "bad_": "signature", "bearer": "signature", "unknown_key": "signature"} {
		if strings.HasPrefix(detail, reason) {
			return what
		}
	}
	return "refused"
}
