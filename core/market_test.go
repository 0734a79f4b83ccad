package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/server"
)

// speaker is a registry that offers what a test says.
type speaker struct {
	voice
	hits  []server.Hit
	fails error
}

func (s *speaker) Search(_ context.Context, q server.Query) (server.Result, error) {
	from := min(q.Offset, len(s.hits))
	return server.Result{Items: s.hits[from:min(len(s.hits), from+q.Limit)], Total: len(s.hits),
		Facets: map[string]map[string]int{"kind": {"collector": len(s.hits)}}}, s.fails
}

func (s *speaker) Front(context.Context) (server.Front, error) {
	return server.Front{Kinds: []server.KindCount{{Kind: "collector", Count: len(s.hits)}}, Popular: s.hits}, s.fails
}

func (s *speaker) Plugin(_ context.Context, id, _ string) (server.Plugin, error) {
	for _, h := range s.hits {
		if h.ID == id {
			return server.Plugin{Hit: h, Shown: h.Version}, s.fails
		}
	}
	return server.Plugin{}, errors.Join(s.fails, server.ErrNotFound)
}

func hit(id string, installs int) server.Hit {
	return server.Hit{ID: id, Kind: "collector", Title: id, Version: "1.0.0", Installs: installs}
}

func names(list []catalogue.Hit) (out []string) {
	for _, h := range list {
		out = append(out, h.ID+" "+h.Registry)
	}
	return out
}

func TestTwoRegistriesAreOneMarket(t *testing.T) {
	private := &speaker{hits: []server.Hit{hit("corp/a", 5), hit("acme/stolen", 99)}}
	public := &speaker{hits: []server.Hit{hit("acme/b", 9), hit("corp/fake", 50), hit("acme/c", 1)}}
	m := &market{stalls: []stall{{voice: private, name: "corp", pins: policy.Registry{Name: "corp", Namespaces: []string{"corp"}}}, {voice: public, name: ownRegistry}}}
	p, err := m.Search(t.Context(), catalogue.MarketQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	// What a registry offers in a namespace of the other one is not shown.
	if got := names(p.Items); !slices.Equal(got, []string{"acme/b own", "corp/a corp", "acme/c own"}) {
		t.Errorf("%q", got)
	}
	if p.Facets["kind"]["collector"] != 5 {
		t.Errorf("facets %v", p.Facets)
	}
	p, err = m.Search(t.Context(), catalogue.MarketQuery{Limit: 1, Offset: 1})
	if err != nil || !slices.Equal(names(p.Items), []string{"corp/a corp"}) {
		t.Errorf("the second page: %q %v", names(p.Items), err)
	}
	if _, err := m.Offer(t.Context(), "corp/fake", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an offer in a pinned namespace by the other registry: %v", err)
	}
	o, err := m.Offer(t.Context(), "corp/a", "")
	if err != nil || o.Registry != "corp" {
		t.Errorf("%+v %v", o.Hit, err)
	}

	private.fails = errors.New("it is away")
	p, err = m.Search(t.Context(), catalogue.MarketQuery{Limit: 10})
	if err != nil || !slices.Equal(names(p.Items), []string{"acme/b own", "acme/c own"}) {
		t.Errorf("with one of them away: %q %v", names(p.Items), err)
	}
	f, err := m.Front(t.Context())
	if err != nil || len(f.Popular) != 2 {
		t.Errorf("the front with one away: %+v %v", f, err)
	}
	public.fails = private.fails
	if _, err := m.Search(t.Context(), catalogue.MarketQuery{}); err == nil {
		t.Error("nobody answers, and nobody says so")
	}
}

func TestARegistryElsewhere(t *testing.T) {
	asked := ""
	answer := func(w http.ResponseWriter) { fmt.Fprint(w, `{"items":[{"id":"a/b"}],"total":1}`) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String()
		answer(w)
	}))
	defer s.Close()
	r := newRemote(s.URL + "/registry/")
	got, err := r.Search(t.Context(), server.Query{Text: "x y", Limit: 3})
	if err != nil || len(got.Items) != 1 || got.Items[0].ID != "a/b" || asked != "GET /registry/v1/search?limit=3&offset=0&q=x+y" {
		t.Errorf("%+v %v, asked %s", got, err, asked)
	}
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		is     error
	}{
		"it has none":      {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, server.ErrNotFound},
		"a wrong question": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) }, server.ErrQuery},
		"it refuses": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]string{"detail": strings.Repeat("no", 10000)})
		}, errNotTaken},
		"it sends us elsewhere": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(http.StatusFound)
		}, nil},
		"endless":    {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxVoice+1)) }, nil},
		"no JSON":    {func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") }, nil},
		"it is down": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, nil},
	} {
		answer = c.answer
		_, err := r.Front(t.Context())
		if err == nil || c.is != nil && !errors.Is(err, c.is) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	answer = func(w http.ResponseWriter) { fmt.Fprint(w, `{}`) }
	if _, err := r.Reviews(t.Context(), "acme/?x#"); err != nil || asked != "GET /registry/v1/plugins/acme/%3Fx%23/reviews" {
		t.Errorf("an id that is none: %v, asked %s", err, asked)
	}
	s.Close()
	if _, err := r.Front(t.Context()); err == nil {
		t.Error("it is gone, and answers")
	}
	if _, err := r.Front(t.Context()); err == nil || !strings.Contains(err.Error(), "a moment ago") {
		t.Errorf("it is asked again at once: %v", err)
	}
	if newRemote("/a/folder") != nil {
		t.Error("a folder has a voice")
	}
}

// liar says that it has more than it sends, or sends more than it was asked for.
type liar struct {
	voice
	sends, asked int
}

func (l *liar) Search(context.Context, server.Query) (server.Result, error) {
	if l.asked++; l.asked > 100 {
		return server.Result{}, errors.New("asked without end")
	}
	return server.Result{Items: slices.Repeat([]server.Hit{hit("acme/x", 1)}, l.sends), Total: 1 << 40}, nil
}

func TestARegistryThatLiesAboutItsSize(t *testing.T) {
	own := &speaker{hits: []server.Hit{hit("picket/a", 1)}}
	for _, sends := range []int{0, 5000} {
		l := &liar{sends: sends}
		m := &market{stalls: []stall{{voice: own, name: ownRegistry}, {voice: l, name: "far", pins: policy.Registry{Name: "far"}}}}
		p, err := m.Search(t.Context(), catalogue.MarketQuery{Limit: 30})
		if err != nil || l.asked != 1 || !slices.Contains(names(p.Items), "picket/a own") {
			t.Errorf("sends %d: asked %d times, found %q, %v", sends, l.asked, names(p.Items), err)
		}
	}
}
