package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
)

func open(tb testing.TB, r *registrytest.Registry, change ...func(*server.Config)) *server.Server {
	tb.Helper()
	cfg := server.Config{Dir: r.Dir, Now: r.Now}
	for _, c := range change {
		c(&cfg)
	}
	s, err := server.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// shop is a registry whose index lists plugins that were never published: enough to search in.
func shop(tb testing.TB) *registrytest.Registry {
	tb.Helper()
	r := registrytest.New(tb)
	x := r.Index(tb)
	add := func(id, kind, title, summary, tier string, tags []string, change ...func(*registry.IndexPlugin)) {
		p := registry.IndexPlugin{ID: id, Kind: kind, Title: title, Summary: summary, License: "MIT", Via: registry.ViaClaimed, Tags: tags}
		for n, version := range []string{"1.1.0", "1.0.0"} {
			p.Releases = append(p.Releases, registry.IndexRelease{
				Version: version, Descriptor: registry.Digest([]byte(id + version)), Length: 9, Role: "ns", KeyIDs: []string{registry.Digest([]byte(id))},
				Published: r.Now().Add(-time.Duration(len(x.Plugins)+10*n) * time.Hour), Channel: registry.ChannelStable, Tier: tier,
			})
		}
		for _, c := range change {
			c(&p)
		}
		x.Plugins = append(x.Plugins, p)
	}
	add("acme/bgp-peers", "collector", "BGP peers", "Asks routers for their neighbours over SNMP.", "gold", []string{"routing", "bgp"})
	add("acme/snmp", "collector", "SNMP", "Reads counters of switches and routers.", "silver", []string{"snmp", "switch"})
	add("acme/switch-ports", "collector", "Switch ports", "Which port a machine hangs on.", "bronze", []string{"snmp", "switch"})
	add("corp/dns-tunnel", "detector", "DNS tunnels", "Finds data that leaves by way of names.", "gold", []string{"dns"},
		func(p *registry.IndexPlugin) { p.Techniques = []string{"T1071.004"} })
	add("corp/port-scan", "detector", "Port scans", "Finds who tries many ports.", "gold", []string{"scan"},
		func(p *registry.IndexPlugin) { p.Techniques = []string{"T1046"} })
	add("zoo/broken", "collector", "Broken SNMP", "Was taken off.", "gold", []string{"snmp"}, func(p *registry.IndexPlugin) {
		for i := range p.Releases {
			p.Releases[i].Yanked = "It hangs."
		}
	})
	add("zoo/octets", "collector", "Octets", "Counts.", "", nil, func(p *registry.IndexPlugin) { p.Metrics = []string{"if.octets"} })
	r.SignIndex(tb, x)
	return r
}

func ids(hits []server.Hit) []string {
	out := []string{}
	for _, h := range hits {
		out = append(out, h.ID)
	}
	return out
}

func TestSearch(t *testing.T) {
	s := open(t, shop(t))
	for name, c := range map[string]struct {
		q    server.Query
		want []string
		mean string
	}{
		"a name before a tag before a summary, what is yanked last": {server.Query{Text: "snmp"},
			[]string{"acme/snmp", "acme/switch-ports", "acme/bgp-peers", "zoo/broken"}, ""},
		"capitals":                    {server.Query{Text: "BGP"}, []string{"acme/bgp-peers"}, ""},
		"a beginning":                 {server.Query{Text: "tunn"}, []string{"corp/dns-tunnel"}, ""},
		"two letters swapped":         {server.Query{Text: "snpm"}, []string{"acme/snmp", "acme/switch-ports", "acme/bgp-peers", "zoo/broken"}, "snmp"},
		"one letter too many":         {server.Query{Text: "octetts"}, []string{"zoo/octets"}, "octets"},
		"two slips in a long word":    {server.Query{Text: "neigbhuors"}, []string{"acme/bgp-peers"}, "neighbours"},
		"two slips in a short word":   {server.Query{Text: "smpn"}, []string{}, ""},
		"all words":                   {server.Query{Text: "switch port"}, []string{"acme/switch-ports"}, ""},
		"any word when none has all":  {server.Query{Text: "tunnels peers"}, []string{"acme/bgp-peers", "corp/dns-tunnel"}, ""},
		"held together by a dash":     {server.Query{Text: "port-scan"}, []string{"corp/port-scan"}, ""},
		"a dash that is not there":    {server.Query{Text: "dns-data"}, []string{"corp/dns-tunnel"}, ""},
		"a metric":                    {server.Query{Text: "if.octets"}, []string{"zoo/octets"}, ""},
		"a whole id":                  {server.Query{Text: "corp/port-scan"}, []string{"corp/port-scan"}, ""},
		"a technique in the text":     {server.Query{Text: "T1046"}, []string{"corp/port-scan"}, ""},
		"nothing":                     {server.Query{Text: "quantum"}, []string{}, ""},
		"signs alone":                 {server.Query{Text: "!!! ---"}, []string{}, ""},
		"a kind":                      {server.Query{Kind: "detector"}, []string{"corp/dns-tunnel", "corp/port-scan"}, ""},
		"a technique with its parts":  {server.Query{Technique: "t1071"}, []string{"corp/dns-tunnel"}, ""},
		"a protocol in name or tag":   {server.Query{Protocol: "bgp"}, []string{"acme/bgp-peers"}, ""},
		"a tag":                       {server.Query{Tag: "Switch"}, []string{"acme/snmp", "acme/switch-ports"}, ""},
		"a publisher":                 {server.Query{Publisher: "corp", Sort: server.SortName}, []string{"corp/dns-tunnel", "corp/port-scan"}, ""},
		"a publisher's beginning":     {server.Query{Publisher: "cor"}, []string{}, ""},
		"a tier":                      {server.Query{Tier: "silver"}, []string{"acme/snmp"}, ""},
		"the newest first":            {server.Query{Sort: server.SortNew, Limit: 2}, []string{"acme/bgp-peers", "acme/snmp"}, ""},
		"a page":                      {server.Query{Sort: server.SortName, Offset: 1, Limit: 2}, []string{"zoo/broken", "corp/dns-tunnel"}, ""},
		"past the end":                {server.Query{Offset: 100}, []string{}, ""},
		"nothing asked, yanked last":  {server.Query{Publisher: "zoo"}, []string{"zoo/octets", "zoo/broken"}, ""},
		"words and a filter together": {server.Query{Text: "snmp", Kind: "detector"}, []string{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Search(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(ids(got.Items), c.want) || got.DidYouMean != c.mean {
				t.Errorf("found %v (did you mean %q), want %v (%q)", ids(got.Items), got.DidYouMean, c.want, c.mean)
			}
		})
	}
}

// However rare a metric's word is, and however many plugins have the one that was asked for, a name goes first.
func TestANameGoesBeforeAMetric(t *testing.T) {
	release := []registry.IndexRelease{{Version: "1.0.0"}}
	x := &registry.Index{Plugins: []registry.IndexPlugin{
		{ID: "acme/uptime", Kind: "collector", Title: "Availability", Releases: release},
		{ID: "picket/host", Kind: "collector", Title: "Host", Metrics: []string{"uptime.idle", "host.uptime"}, Releases: release},
	}}
	for i := range 1000 {
		x.Plugins = append(x.Plugins, registry.IndexPlugin{ID: fmt.Sprintf("many/p%d", i), Kind: "collector", Title: "One of many",
			Metrics: []string{fmt.Sprintf("p%d.uptime", i)}, Releases: release})
	}
	c := server.NewCatalogue(x)
	for _, text := range []string{"uptime", "uptim", "upitme", "Uptime!"} {
		got, err := c.Search(server.Query{Text: text, Limit: 1}, nil)
		if err != nil || len(got.Items) != 1 || got.Items[0].ID != "acme/uptime" {
			t.Errorf("%s: %v, %v", text, ids(got.Items), err)
		}
	}
}

func TestSearchFacets(t *testing.T) {
	s := open(t, shop(t))
	got, err := s.Search(t.Context(), server.Query{Text: "snmp", Kind: "collector", Tier: "gold"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != 2 || got.Facets["tier"]["silver"] != 1 || got.Facets["tier"]["gold"] != 2 || got.Facets["kind"]["collector"] != 2 || got.Facets["tag"]["snmp"] != 1 {
		t.Errorf("%d of %v", got.Total, got.Facets)
	}
}

func TestSearchRefuses(t *testing.T) {
	s := open(t, shop(t))
	for name, q := range map[string]server.Query{
		"an unknown order":  {Sort: "random"},
		"a huge page":       {Limit: 101},
		"a negative offset": {Offset: -1},
		"a long text":       {Text: strings.Repeat("x", 201)},
	} {
		if _, err := s.Search(t.Context(), q); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
}

func TestFront(t *testing.T) {
	s := open(t, shop(t))
	f, err := s.Front(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Kinds) != 2 || f.Kinds[0].Kind != "collector" || f.Kinds[0].Count != 5 {
		t.Errorf("kinds %+v", f.Kinds)
	}
	if len(f.New) != 6 || f.New[0].ID != "acme/bgp-peers" || len(f.Updated) != 6 || slices.Contains(ids(f.Popular), "zoo/broken") {
		t.Errorf("new %v, updated %v, popular %v", ids(f.New), ids(f.Updated), ids(f.Popular))
	}
}

// real is a registry with an author, published through the front door.
func real(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := registrytest.New(t)
	acme := r.Claim(t, "acme")
	r.Upload(t, acme, registrytest.Plugin{ID: "acme/snmp", Readme: []byte("# SNMP\n\nReads.")})
	r.Advance(time.Hour)
	r.Upload(t, acme, registrytest.Plugin{ID: "acme/snmp", Version: "1.1.0", Readme: []byte("# SNMP\n\nReads more.")})
	return r
}

func TestPlugin(t *testing.T) {
	r := real(t)
	s := open(t, r)
	p, err := s.Plugin(t.Context(), "acme/snmp", "")
	if err != nil {
		t.Fatal(err)
	}
	if p.Shown != "1.1.0" || p.Readme != "# SNMP\n\nReads more." || len(p.Releases) != 2 || p.Manifest.ID != "acme/snmp" || p.Contact != "dev@acme.example" {
		t.Errorf("%+v", p)
	}
	if p, err = s.Plugin(t.Context(), "acme/snmp", "1.0.0"); err != nil || p.Readme != "# SNMP\n\nReads." || p.Version != "1.1.0" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, missing := range [][2]string{{"acme/other", ""}, {"acme/snmp", "9.9.9"}, {"../../etc", "passwd"}} {
		if _, err := s.Plugin(t.Context(), missing[0], missing[1]); err == nil {
			t.Errorf("found %v", missing)
		}
	}
	// A file that was changed in the folder is not shown.
	file := filepath.Join(r.Dir, "store", "sha256", registry.Digest([]byte("# SNMP\n\nReads more.")))
	if err := os.WriteFile(file, []byte("# Evil"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err = s.Plugin(t.Context(), "acme/snmp", ""); err != nil || p.Readme != "" {
		t.Errorf("readme %q, %v", p.Readme, err)
	}
}

func TestPublisher(t *testing.T) {
	r := real(t)
	s := open(t, r)
	p, err := s.Publisher(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if p.Via != registry.ViaRecent || len(p.Plugins) != 1 || len(p.Keys) != 1 || p.Keys[0].ID != r.AuthorKeyID(t, "acme") ||
		!p.Keys[0].Since.Equal(r.Now().Add(-time.Hour)) {
		t.Errorf("%+v", p)
	}
	if _, err := s.Publisher(t.Context(), "acm"); err == nil {
		t.Error("found half a namespace")
	}
}

// A change of the registry is seen without anybody saying so.
func TestServerSeesChanges(t *testing.T) {
	r := real(t)
	s := open(t, r)
	r.Advance(time.Minute)
	r.Publish(t, registrytest.Plugin{ID: "picket/ping"})
	r.Advance(time.Minute)
	got, err := s.Search(t.Context(), server.Query{Publisher: "picket"})
	if err != nil || len(got.Items) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	// An index that nobody signed is not taken; the one before is.
	file := filepath.Join(r.Dir, registry.IndexPath)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), "picket/ping", "picket/pong!")), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Advance(time.Minute)
	if err := s.Reload(); err == nil {
		t.Error("took a changed index")
	}
	if got, err = s.Search(t.Context(), server.Query{Publisher: "picket"}); err != nil || len(got.Items) != 1 || got.Items[0].ID != "picket/ping" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRegistryWithoutAnIndex(t *testing.T) {
	r := real(t)
	if err := os.Remove(filepath.Join(r.Dir, registry.IndexPath)); err != nil {
		t.Fatal(err)
	}
	s := open(t, r)
	if got, err := s.Search(t.Context(), server.Query{}); err != nil || len(got.Items) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	r.Renew(t)
	r.Advance(time.Minute)
	if got, err := s.Search(t.Context(), server.Query{}); err != nil || len(got.Items) != 1 {
		t.Errorf("after the next change: %+v, %v", got, err)
	}
}

type reply struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, url string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

func TestHTTP(t *testing.T) {
	r := real(t)
	s := open(t, r)
	mux := http.NewServeMux()
	mux.Handle("/some/prefix/", http.StripPrefix("/some/prefix", s.Handler()))
	web := httptest.NewServer(mux)
	defer web.Close()
	base := web.URL + "/some/prefix"
	for path, want := range map[string]string{
		"/v1/search?q=snmp":                   `"id":"acme/snmp"`,
		"/v1/front":                           `"popular":[`,
		"/v1/plugins/acme/snmp":               `"shown":"1.1.0"`,
		"/v1/plugins/acme/snmp/reviews":       `"reviews":[]`,
		"/v1/publishers/acme":                 `"namespace":"acme"`,
		"/v1/feed.json":                       `"https://jsonfeed.org/version/1.1"`,
		"/v1/feed.atom":                       `http://www.w3.org/2005/Atom`,
		"/v1/plugins/acme/snmp?version=1.0.0": `"shown":"1.0.0"`,
	} {
		res := get(t, base+path)
		if res.status != http.StatusOK || !strings.Contains(res.body, want) {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
		if again := get(t, base+path, "If-None-Match", res.header.Get("ETag")); again.status != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.status)
		}
	}
	for path, want := range map[string]int{
		"/v1/nothing": 404, "/v1/plugins/acme/none": 404, "/v1/publishers/none": 404, "/v1/search?limit=1000": 400, "/v1/search?sort=x": 400,
		"/v1/search?offset=-1": 400, "/v1/search?limit=x": 400, "/nothing": 404,
	} {
		res := get(t, base+path)
		var p struct {
			Status int
			Detail string
		}
		if err := json.Unmarshal([]byte(res.body), &p); err != nil || res.status != want || p.Status != want || p.Detail == "" ||
			res.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
	}
}

// What lies in the folder and is not part of the registry is not served, whatever it is called.
func TestFilesThatAreServed(t *testing.T) {
	r := real(t)
	s := open(t, r)
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	digest := registry.Digest([]byte("# SNMP\n\nReads."))
	if err := os.WriteFile(filepath.Join(r.Dir, "metadata", "notes.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	evidence := "/" + registry.EvidencePath(digest, "")
	if err := errors.Join(os.MkdirAll(filepath.Join(r.Dir, evidence), 0o755), os.WriteFile(filepath.Join(r.Dir, registry.UpstreamPath), []byte("{}"), 0o644),
		os.WriteFile(filepath.Join(r.Dir, evidence, "3.targets.json"), []byte("{}"), 0o644),
		os.WriteFile(filepath.Join(r.Dir, evidence, "official.chain.json"), []byte("{}"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for path, cache := range map[string]string{
		"/" + registry.UpstreamPath:      "no-cache",
		evidence + "3.targets.json":      "immutable",
		evidence + "official.chain.json": "no-cache",
		"/metadata/timestamp.json":       "no-cache",
		"/metadata/1.root.json":          "immutable",
		"/" + registry.IndexPath:         "no-cache",
		"/" + registry.StorePath(digest): "immutable",
	} {
		res := get(t, web.URL+path)
		want, err := os.ReadFile(filepath.Join(r.Dir, path))
		if err != nil || res.status != http.StatusOK || res.body != string(want) || !strings.Contains(res.header.Get("Cache-Control"), cache) {
			t.Errorf("%s: %d, %q, %v", path, res.status, res.header.Get("Cache-Control"), err)
		}
	}
	part := get(t, web.URL+"/"+registry.StorePath(digest), "Range", "bytes=2-5")
	if part.status != http.StatusPartialContent || part.body != "SNMP" {
		t.Errorf("a range: %d %q", part.status, part.body)
	}
	for _, path := range []string{
		"/.server/journal.jsonl", "/.claims/acme.json", "/.lock", "/.published.jsonl", "/metadata/notes.txt", "/metadata/", "/store/", "/store/sha256/",
		"/evidence/", "/evidence/3.targets.json", evidence + "notes.txt", "/targets/", "/targets/../.lock", "/store/sha256/../../.lock", "/metadata/.x.root.json", "/%2e%2e/keys/root.json",
		"/store/sha256/" + strings.ToUpper(digest), "/keys", "/metadata/1.root.json/", "/targets/" + digest,
	} {
		if res := get(t, web.URL+path); res.status == http.StatusOK {
			t.Errorf("%s is served: %.80s", path, res.body)
		}
	}
}

func TestFeedTellsOfWithdrawals(t *testing.T) {
	r := real(t)
	s := open(t, r)
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	titles := func() string {
		t.Helper()
		var feed struct {
			Items []struct {
				Title     string    `json:"title"`
				Published time.Time `json:"date_published"`
			}
		}
		if err := json.Unmarshal([]byte(get(t, web.URL+"/v1/feed.json").body), &feed); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, i := range feed.Items {
			out = append(out, fmt.Sprintf("%s @%s", i.Title, i.Published.Format("15:04")))
		}
		return strings.Join(out, "; ")
	}
	if got, want := titles(), "acme/snmp 1.1.0 @13:00; acme/snmp 1.0.0 @12:00"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.Advance(time.Hour)
	r.Revoke(t, "acme/snmp", "1.0.0", "It leaks.")
	r.Advance(time.Hour)
	if got, want := titles(), "revoked: acme/snmp 1.0.0 @14:00; acme/snmp 1.1.0 @13:00; acme/snmp 1.0.0 @12:00"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.Publish(t, registrytest.Plugin{ID: "picket/a"})
	r.Change(t, func(p *publish.Publisher) error { return p.Yank("picket/a", "1.0.0", "Too early.") })
	r.Advance(time.Hour)
	if got := titles(); !strings.HasPrefix(got, "yanked: picket/a 1.0.0 @16:00; picket/a 1.0.0 @15:00; revoked") {
		t.Errorf("after a yank: %s", got)
	}
	r.Change(t, func(p *publish.Publisher) error { return p.Yank("picket/a", "1.0.0", "") })
	r.Advance(time.Hour)
	if got := titles(); strings.Contains(got, "yanked") {
		t.Errorf("after it was put back: %s", got)
	}
}

// 1,000 plugins with ten releases each: reading the index, and searching, in the process and over HTTP.
func BenchmarkSearch(b *testing.B) {
	r := registrytest.New(b)
	r.Crowd(b, 1000, 10)
	s := open(b, r)
	b.Run("reload", func(b *testing.B) {
		for range b.N {
			if err := s.Reload(); err != nil {
				b.Fatal(err)
			}
		}
	})
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	b.Run("http", func(b *testing.B) {
		var took []time.Duration
		for n := range b.N {
			start := time.Now()
			res, err := http.Get(fmt.Sprintf("%s/v1/search?q=agnet+%d&limit=100", web.URL, n%1000))
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				b.Fatal(res.Status, err)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
	})
	for name, q := range map[string]server.Query{
		"word": {Text: "agent"}, "typo": {Text: "stnads plugin"}, "filter": {Tag: "tag-7", Sort: server.SortNew}, "all": {Limit: 100},
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for range b.N {
				start := time.Now()
				if got, err := s.Search(b.Context(), q); err != nil || got.Total == 0 {
					b.Fatal(got.Total, err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}
