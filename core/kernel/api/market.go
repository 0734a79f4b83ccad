package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/registry"
)

// Market is what can be had, and how it is installed; catalogue.Catalogue is one.
type Market interface {
	Browse(ctx context.Context, q catalogue.MarketQuery) (catalogue.MarketPage, error)
	Front(ctx context.Context) (catalogue.MarketFront, error)
	Offer(ctx context.Context, id, version string) (catalogue.Offer, error)
	Publisher(ctx context.Context, namespace string) (catalogue.Publisher, error)
	Reviews(ctx context.Context, id string) ([]catalogue.Review, error)
	Review(ctx context.Context, id string, stars int, text string) error
	Complain(ctx context.Context, id, version, reason, text, contact string) error
	Plan(ctx context.Context, id, version, node string) (catalogue.InstallPlan, error)
	Install(ctx context.Context, id string, w catalogue.Wish) (catalogue.InstallJob, error)
	InstallJob(ctx context.Context, id string) (catalogue.InstallJob, error)
	Picture(ctx context.Context, id, version string, number int) (data []byte, kind string, err error)
}

// Publishing takes releases in; the registry's server does. It is nil where this server has none of its own.
type Publishing interface {
	// Submit reads an archive and returns the id of the job that checks and publishes it.
	Submit(ctx context.Context, archive io.Reader) (string, error)
	Job(ctx context.Context, id string) (PublishJob, error)
}

// PublishJob is how far the publication of a release is.
type PublishJob struct {
	ID      string          `json:"id"`
	State   string          `json:"state" enum:"reading,checking,published,refused"`
	Gates   []registry.Gate `json:"gates" nullable:"false"`
	Problem string          `json:"problem,omitempty" doc:"Why it was refused, and what to do."`
	Plugin  string          `json:"plugin,omitempty"`
	Version string          `json:"version,omitempty"`
}

const publishPath = "/api/v1/market/publish"

type marketQuery struct {
	Q         string `query:"q" maxLength:"200" doc:"Words; small slips of the finger are forgiven."`
	Kind      string `query:"kind" enum:"collector,discovery,detector,notifier,model,data"`
	Technique string `query:"technique" maxLength:"40" doc:"An ATT&CK id."`
	Protocol  string `query:"protocol" maxLength:"40"`
	Tag       string `query:"tag" maxLength:"100"`
	Publisher string `query:"publisher" maxLength:"64" doc:"A namespace."`
	Tier      string `query:"tier" maxLength:"20"`
	Installed string `query:"installed" enum:"true,false" doc:"Only what is installed somewhere, or only what is not."`
	Sort      string `query:"sort" enum:"relevance,installs,rating,new,name"`
	Offset    int    `query:"offset" minimum:"0" maximum:"100000"`
	Limit     int    `query:"limit" minimum:"1" maximum:"100" default:"30"`
}

type offerQuery struct {
	PluginPath
	Version string `query:"version" maxLength:"64" doc:"Without it, the newest."`
}

type planInput struct {
	PluginPath
	Body struct {
		Version string `json:"version,omitempty" maxLength:"64"`
		Node    string `json:"node,omitempty" maxLength:"128" doc:"server, the id of an agent, group:NAME, or agents for all of them; without it, where the kind belongs."`
	}
}

type installInput struct {
	PluginPath
	Body struct {
		Version  string            `json:"version,omitempty" maxLength:"64" doc:"Without it, the newest."`
		Node     string            `json:"node,omitempty" maxLength:"128" doc:"server, the id of an agent, group:NAME, or agents for all of them; without it, where the kind belongs."`
		Runtime  string            `json:"runtime,omitempty" enum:"process,wasm"`
		Config   json.RawMessage   `json:"config,omitempty" doc:"As the plugin's config_schema says, without its secrets."`
		Secrets  map[string]string `json:"secrets,omitempty" doc:"The secret fields. One that is left out keeps its value."`
		Grants   grantList         `json:"grants,omitempty"`
		Interval string            `json:"interval,omitempty" maxLength:"20"`
	}
}

type reviewInput struct {
	PluginPath
	Body struct {
		Stars int    `json:"stars" minimum:"1" maximum:"5"`
		Text  string `json:"text,omitempty" maxLength:"2000"`
	}
}

type reportInput struct {
	PluginPath
	Body struct {
		Version string `json:"version,omitempty" maxLength:"64"`
		Reason  string `json:"reason" enum:"malware,impersonation,copyright,spam,broken,other"`
		Text    string `json:"text" minLength:"1" maxLength:"4000"`
		Contact string `json:"contact,omitempty" maxLength:"200" doc:"Where you can be asked."`
	}
}

type idBody struct {
	ID string `json:"id"`
}

type jobBody struct {
	Job string `json:"job"`
}

type reviewsBody struct {
	Items []catalogue.Review `json:"items" nullable:"false"`
}

func (s *Server) marketRoutes() {
	tags := []string{"market"}
	const plugin = "/api/v1/market/plugins/{ns}/{name}"
	look := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: tags, Summary: summary}
	}
	change := func(id, path, summary string, status int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: path, Tags: tags, Summary: summary, DefaultStatus: status}
	}
	handle(s, look("search-market", "/api/v1/market/plugins", "Plugins, models and data packs that can be had"), s.searchMarket)
	handle(s, look("market-front", "/api/v1/market/front", "What the market has, and what fits this network"),
		func(ctx context.Context, _ *struct{}) (*body[catalogue.MarketFront], error) {
			f, err := s.cfg.Catalogue.Front(ctx)
			return answer(f), err
		})
	handle(s, look("market-plugin", plugin, "One plugin before it is installed"),
		func(ctx context.Context, in *offerQuery) (*body[catalogue.Offer], error) {
			o, err := s.cfg.Catalogue.Offer(ctx, in.id(), in.Version)
			return answer(o), err
		})
	handle(s, look("market-reviews", plugin+"/reviews", "What nodes that have it say"),
		func(ctx context.Context, in *PluginPath) (*body[reviewsBody], error) {
			l, err := s.cfg.Catalogue.Reviews(ctx, in.id())
			return answer(reviewsBody{convert(l, func(r catalogue.Review) catalogue.Review { return r })}), err
		})
	handle(s, change("plan-install", plugin+"/plan", "What an installation would bring and change", http.StatusOK),
		func(ctx context.Context, in *planInput) (*body[catalogue.InstallPlan], error) {
			p, err := s.cfg.Catalogue.Plan(ctx, in.id(), in.Body.Version, in.Body.Node)
			return answer(p), err
		})
	handle(s, change("install-plugin", plugin+"/install", "Install a plugin with all that it needs, whole or not at all", http.StatusAccepted), s.installPlugin)
	handle(s, look("get-install", "/api/v1/market/installs/{id}", "How far an installation is"),
		func(ctx context.Context, in *IDPath) (*body[catalogue.InstallJob], error) {
			j, err := s.cfg.Catalogue.InstallJob(ctx, in.ID)
			return answer(j), err
		})
	handle(s, look("market-publisher", "/api/v1/market/publishers/{ns}", "Who publishes under a namespace"),
		func(ctx context.Context, in *struct {
			Namespace string `path:"ns" maxLength:"64"`
		}) (*body[catalogue.Publisher], error) {
			p, err := s.cfg.Catalogue.Publisher(ctx, in.Namespace)
			return answer(p), err
		})
	handle(s, change("review-plugin", plugin+"/review", "Say what this server thinks of a plugin that it has", http.StatusNoContent),
		func(ctx context.Context, in *reviewInput) (*struct{}, error) {
			err := s.cfg.Catalogue.Review(ctx, in.id(), in.Body.Stars, in.Body.Text)
			s.act(ctx, "market.review", "plugin:"+in.id(), "", err)
			return nil, err
		})
	handle(s, change("report-plugin", plugin+"/report", "Tell the registry that something is wrong with a plugin", http.StatusNoContent),
		func(ctx context.Context, in *reportInput) (*struct{}, error) {
			err := s.cfg.Catalogue.Complain(ctx, in.id(), in.Body.Version, in.Body.Reason, in.Body.Text, in.Body.Contact)
			s.act(ctx, "market.report", "plugin:"+in.id(), in.Body.Reason, err)
			return nil, err
		})
	s.publishRoutes(tags)
	s.engine.GET("/api/v1/market/plugins/:ns/:name/screenshots/:number", s.screenshot)
}

func (s *Server) searchMarket(ctx context.Context, in *marketQuery) (*body[catalogue.MarketPage], error) {
	q := catalogue.MarketQuery{Text: in.Q, Kind: in.Kind, Technique: in.Technique, Protocol: in.Protocol, Tag: in.Tag, Publisher: in.Publisher,
		Tier: in.Tier, Sort: in.Sort, Offset: in.Offset, Limit: in.Limit}
	if in.Installed != "" {
		want := in.Installed == "true"
		q.Installed = &want
	}
	p, err := s.cfg.Catalogue.Browse(ctx, q)
	return answer(p), err
}

func (s *Server) installPlugin(ctx context.Context, in *installInput) (*body[idBody], error) {
	interval, err := duration("body.interval", in.Body.Interval)
	if err != nil {
		return nil, err
	}
	job, err := s.cfg.Catalogue.Install(ctx, in.id(), catalogue.Wish{Node: in.Body.Node, Runtime: in.Body.Runtime, Version: in.Body.Version,
		Config: in.Body.Config, Secrets: in.Body.Secrets, GrantAll: in.Body.Grants.all, Grants: in.Body.Grants.caps, Interval: interval,
		By: caller(ctx).Actor()})
	detail := "node " + in.Body.Node + ", grants " + strings.Join(in.Body.Grants.caps, " ")
	if in.Body.Grants.all {
		detail += "all"
	}
	s.act(ctx, "plugin.install", "plugin:"+in.id(), detail+", job "+job.ID, err)
	if err != nil {
		return nil, err
	}
	return answer(idBody{job.ID}), nil
}

func (s *Server) publishRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "get-publish", Method: http.MethodGet, Path: publishPath + "/{id}", Tags: tags,
		Summary: "How far a publication is, and what the gates found"},
		func(ctx context.Context, in *IDPath) (*body[PublishJob], error) {
			if s.cfg.Publishing == nil {
				return nil, errNoPublishing()
			}
			j, err := s.cfg.Publishing.Job(ctx, in.ID)
			return answer(j), err
		})
	// An archive goes past huma, which would hold it in memory.
	s.engine.POST(publishPath, s.publish)
	raw := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	op := huma.Operation{OperationID: "publish-release", Method: http.MethodPost, Path: publishPath, Tags: tags,
		Summary: "Submit a signed archive to this server's registry; its gates run before anybody sees it",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/x-tar": {Schema: raw}, "application/octet-stream": {Schema: raw}}},
		Responses: map[string]*huma.Response{"202": {Description: "Taken; ask for the job.",
			Content: map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(s.huma.OpenAPI().Components.Schemas, typeOf[jobBody]())}}}},
	}
	describeAccess(&op)
	op.Errors = nil
	s.huma.OpenAPI().AddOperation(&op)
}

func errNoPublishing() error {
	return huma.Error422UnprocessableEntity("this server publishes nothing: it has no registry whose keys it holds; send the archive to the registry itself")
}

func (s *Server) publish(c *gin.Context) {
	ctx := c.Request.Context()
	if s.cfg.Publishing == nil {
		s.fail(c, errNoPublishing())
		return
	}
	job, err := s.cfg.Publishing.Submit(ctx, c.Request.Body)
	s.act(ctx, "market.publish", "registry", "job "+job, err)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", publishPath+"/"+job)
	c.JSON(http.StatusAccepted, jobBody{job})
}

// screenshot sends a picture of a release, which its descriptor names by digest. Its type is what its bytes were checked
// to be when it was published, and no browser guesses another.
func (s *Server) screenshot(c *gin.Context) {
	id := PluginPath{Namespace: c.Param("ns"), Name: c.Param("name")}.id()
	number, ok := map[string]int{"0": 0, "1": 1, "2": 2, "3": 3, "4": 4}[c.Param("number")]
	if !ok {
		s.refuse(c, http.StatusNotFound, "there is no such picture")
		return
	}
	data, kind, err := s.cfg.Catalogue.Picture(c.Request.Context(), id, c.Query("version"), number)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "private, max-age=3600")
	c.Header("Content-Security-Policy", "default-src 'none'; sandbox")
	c.Data(http.StatusOK, kind, data)
}
