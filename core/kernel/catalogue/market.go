package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Hit is one plugin, model or data pack as a list of the market shows it. Nothing in it is believed for installing.
type Hit struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	Title      string    `json:"title"`
	Summary    string    `json:"summary"`
	License    string    `json:"license"`
	Homepage   string    `json:"homepage,omitempty"`
	Tags       []string  `json:"tags" nullable:"false"`
	Techniques []string  `json:"techniques" nullable:"false"`
	Metrics    []string  `json:"metrics" nullable:"false"`
	Runtimes   []string  `json:"runtimes" nullable:"false"`
	Via        string    `json:"via,omitempty" doc:"Who vouches for its namespace: official, claimed or recent."`
	Contact    string    `json:"contact,omitempty"`
	Version    string    `json:"version" doc:"The newest that may be installed."`
	Published  time.Time `json:"published,omitzero"`
	Tier       string    `json:"tier,omitempty" doc:"gold, silver, bronze or none, as the registry's gates found; absent when no card was made."`
	Installs   int       `json:"installs" doc:"Nodes that told the registry of it; absent nodes do not count."`
	Rating     Rating    `json:"rating"`
	Yanked     string    `json:"yanked,omitempty" doc:"Why it was taken off the shelf."`
	Revoked    string    `json:"revoked,omitempty" doc:"Why it must not run."`
	Score      float64   `json:"score,omitempty" doc:"How well it fits what was searched."`
	Registry   string    `json:"registry" doc:"The name of the registry that it comes from."`
	Installed  *Presence `json:"installed,omitempty" doc:"Absent when no node has it."`
}

// Rating is the mean of the reviews.
type Rating struct {
	Stars float64 `json:"stars"`
	Count int     `json:"count"`
}

// Presence is where a plugin is already.
type Presence struct {
	Version string `json:"version"`
	Enabled bool   `json:"enabled"`
	Nodes   int    `json:"nodes" doc:"How many nodes run it."`
}

// MarketQuery is a search. Empty fields filter nothing.
type MarketQuery struct {
	Text, Kind, Technique, Protocol, Tag, Publisher, Tier string
	Installed                                             *bool
	Sort                                                  string // relevance, installs, rating, new or name
	Offset, Limit                                         int
}

// MarketPage is what a search found.
type MarketPage struct {
	Items      []Hit                     `json:"items" nullable:"false"`
	Total      int                       `json:"total"`
	Facets     map[string]map[string]int `json:"facets" doc:"How many there are by kind, tag and tier."`
	DidYouMean string                    `json:"did_you_mean,omitempty"`
}

// KindCount is how many plugins of a kind there are.
type KindCount struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// Recommendation is a plugin that fits what was discovered, with the reason in words.
type Recommendation struct {
	Plugin  Hit    `json:"plugin"`
	Because string `json:"because"`
}

// MarketFront is the first page of the market.
type MarketFront struct {
	Kinds       []KindCount      `json:"kinds" nullable:"false"`
	Popular     []Hit            `json:"popular" nullable:"false"`
	New         []Hit            `json:"new" nullable:"false"`
	Updated     []Hit            `json:"updated" nullable:"false"`
	Recommended []Recommendation `json:"recommended" nullable:"false"`
}

// Offer is all there is to know of one plugin before it is installed.
type Offer struct {
	Hit
	Releases     []OfferedRelease       `json:"releases" nullable:"false" doc:"Newest first."`
	Readme       string                 `json:"readme,omitempty" doc:"Markdown."`
	Changelog    string                 `json:"changelog,omitempty" doc:"Markdown."`
	Card         *registry.Card         `json:"card,omitempty" doc:"What the registry's gates found; absent when none is signed for this version."`
	Requires     []registry.Requirement `json:"requires" nullable:"false"`
	Permissions  []sdk.Permission       `json:"permissions" nullable:"false"`
	Rules        []Rule                 `json:"rules" nullable:"false"`
	ConfigSchema json.RawMessage        `json:"config_schema,omitempty"`
	Screenshots  []Screenshot           `json:"screenshots" nullable:"false"`
	Model        *registry.Model        `json:"model,omitempty" doc:"Of a model: what goes in, how good it is, what it is not for."`
	Data         *registry.Data         `json:"data,omitempty" doc:"Of a data pack: where its content comes from, and of which day."`
	Trust        OfferTrust             `json:"trust"`
	Overrides    []Override             `json:"overrides" nullable:"false" doc:"Revoked versions that an administrator lets run on."`
	Unverified   string                 `json:"unverified,omitempty" doc:"Why this server could not verify the release itself; what is shown is the registry's word alone."`
}

// OfferedRelease is one version on the shelf.
type OfferedRelease struct {
	Version    string    `json:"version"`
	Published  time.Time `json:"published,omitzero"`
	Channel    string    `json:"channel" enum:"stable,beta"`
	Descriptor string    `json:"descriptor" doc:"SHA-256 of what was signed."`
	Tier       string    `json:"tier,omitempty"`
	Yanked     string    `json:"yanked,omitempty"`
	Revoked    string    `json:"revoked,omitempty"`
}

// Screenshot is a picture of a release, fetched by its digest.
type Screenshot struct {
	URL    string `json:"url"`
	Alt    string `json:"alt"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
}

// OfferTrust is what this server verified of a release.
type OfferTrust struct {
	Via         string      `json:"via" doc:"official, claimed or recent."`
	Role        string      `json:"role"`
	Keys        []string    `json:"keys" nullable:"false" doc:"Ids of the keys that signed the role."`
	Root        string      `json:"root" doc:"SHA-256 of the pinned root."`
	Development bool        `json:"development"`
	Chain       []TrustLink `json:"chain" nullable:"false" doc:"From the root to the release."`
}

// TrustLink is one role on the way from the root to a release.
type TrustLink struct {
	Role      string    `json:"role"`
	Who       string    `json:"who"`
	Keys      int       `json:"keys"`
	Threshold int       `json:"threshold"`
	Expires   time.Time `json:"expires,omitzero"`
}

// Review is what the people of a node say of a plugin.
type Review struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Stars   int       `json:"stars"`
	Text    string    `json:"text"`
	Time    time.Time `json:"time"`
}

// Publisher is who offers plugins under one namespace.
type Publisher struct {
	Namespace string         `json:"namespace"`
	Via       string         `json:"via"`
	Contact   string         `json:"contact,omitempty"`
	Keys      []PublisherKey `json:"keys" nullable:"false"`
	Plugins   []Hit          `json:"plugins" nullable:"false"`
}

// PublisherKey is a key that signs for a namespace.
type PublisherKey struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since,omitzero"`
}

// Shop is the registries' own account of what they offer: found quickly, signed as the registry's word, and never
// believed for installing.
type Shop interface {
	Search(ctx context.Context, q MarketQuery) (MarketPage, error)
	Front(ctx context.Context) (MarketFront, error)
	Offer(ctx context.Context, id, version string) (Offer, error)
	Publisher(ctx context.Context, namespace string) (Publisher, error)
	Reviews(ctx context.Context, id string) ([]Review, error)
	// Review and Report are signed by this server's own key as a node.
	Review(ctx context.Context, id, version string, stars int, text string) error
	Report(ctx context.Context, id, version, reason, text, contact string) error
}

// ErrNoShop says that this server has no market to show.
var ErrNoShop = errors.New("this server has no registry to show: start it with one, or with --dev")
