package promql

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Labels that every series of an agent has. They say who sent it; a label of the same name that the agent sent itself is
// shown as exported_NAME, so that it cannot pass for another. So are the first two of whoever pushes: rules go by them.
const (
	agentID    = "agent_id"
	agentName  = "agent_name"
	agentGroup = "group"
)

// jobOfAgents is the job of what an agent measured and that names no service.
const jobOfAgents = "picket-agent"

// pairs are the labels of one series, in Prometheus's notation. It is reused from series to series.
type pairs struct {
	list    []labels.Label
	builder labels.ScratchBuilder
}

// fill sets the labels of a series of a metric. An agent of nil is none: then somebody pushed the series, and its labels
// are what was pushed, but that only the server itself may say of which agent they speak.
func (p *pairs) fill(name string, own map[string]string, agent *store.AgentName, byServer bool) {
	p.list = append(p.list[:0], labels.Label{Name: model.MetricNameLabel, Value: name})
	var service, namespace, instance string
	for k, v := range own {
		switch k {
		case "service.name":
			service = v
			continue
		case "service.namespace":
			namespace = v
			continue
		case "service.instance.id":
			instance = v
			continue
		case model.MetricNameLabel:
			continue
		}
		k = labelName(k)
		if !byServer && (k == agentID || k == agentName) || agent != nil && k == agentGroup {
			k = "exported_" + k
		}
		p.add(k, v)
	}
	if namespace != "" && service != "" {
		service = namespace + "/" + service
	}
	if agent != nil {
		p.add(agentID, agent.ID)
		p.add(agentName, agent.Name)
		p.add(agentGroup, agent.Group)
		if service == "" {
			service = jobOfAgents
		}
		if instance == "" {
			instance = agent.Name
		}
	}
	p.addMissing("job", service)
	p.addMissing("instance", instance)
	p.join()
}

func (p *pairs) add(name, value string) {
	if value != "" { // to Prometheus, an empty label is none
		p.list = append(p.list, labels.Label{Name: name, Value: value})
	}
}

func (p *pairs) addMissing(name, value string) {
	if !slices.ContainsFunc(p.list, func(l labels.Label) bool { return l.Name == name }) {
		p.add(name, value)
	}
}

// join sorts the labels and makes one of those that have the same name after translation, as the rules want it.
func (p *pairs) join() {
	slices.SortFunc(p.list, func(a, b labels.Label) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	kept := p.list[:0]
	for _, l := range p.list {
		if n := len(kept); n > 0 && kept[n-1].Name == l.Name {
			kept[n-1].Value += ";" + l.Value
			continue
		}
		kept = append(kept, l)
	}
	p.list = kept
}

func (p *pairs) get(name string) string {
	for _, l := range p.list {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func (p *pairs) fit(matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(p.get(m.Name)) {
			return false
		}
	}
	return true
}

func (p *pairs) labels() labels.Labels {
	p.builder.Reset()
	for _, l := range p.list {
		p.builder.Add(l.Name, l.Value)
	}
	return p.builder.Labels()
}

// directoryAge is how long names and groups of agents may be out of date in an answer.
const directoryAge = 5 * time.Second

// directory knows the agents of the tenants.
type directory struct {
	list func(ctx context.Context, tenant string) ([]store.AgentName, error)
	now  func() time.Time
	log  *slog.Logger

	mu    sync.Mutex // guards what follows; held while the list is read
	known map[string]*phoneBook
}

// phoneBook is the agents of one tenant. There is another one when they have changed.
type phoneBook struct {
	at   time.Time // when they were compared last; guarded by the directory's lock
	list []store.AgentName
	byID map[string]*store.AgentName
}

func (d *directory) of(ctx context.Context, tenant string) (*phoneBook, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.known[tenant]
	if old != nil && d.now().Sub(old.at).Abs() < directoryAge {
		return old, nil
	}
	list, err := d.list(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if old != nil && slices.Equal(old.list, list) {
		old.at = d.now()
		return old, nil
	}
	b := &phoneBook{at: d.now(), list: list, byID: make(map[string]*store.AgentName, len(list))}
	for i := range list {
		b.byID[list[i].ID] = &list[i]
	}
	if d.known == nil {
		d.known = map[string]*phoneBook{}
	}
	d.known[tenant] = b
	return b, nil
}

// sender returns who sent a series, nil when no agent did. One that was removed is known by its id alone.
func (b *phoneBook) sender(id string) *store.AgentName {
	if a := b.byID[id]; a != nil {
		return a
	}
	if store.IsPushed(id) {
		return nil
	}
	return &store.AgentName{ID: id, Name: id}
}
