package server

import "time"

// Hit is a plugin in a list.
type Hit struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	Title      string    `json:"title"`
	Summary    string    `json:"summary"`
	License    string    `json:"license"`
	Homepage   string    `json:"homepage,omitempty"`
	Tags       []string  `json:"tags"`
	Techniques []string  `json:"techniques"`
	Metrics    []string  `json:"metrics"`
	Runtimes   []string  `json:"runtimes"`
	Via        string    `json:"via"`
	Contact    string    `json:"contact,omitempty"`
	Version    string    `json:"version"` // the one that somebody gets who names none
	Published  time.Time `json:"published"`
	Tier       string    `json:"tier,omitempty"`
	Installs   int       `json:"installs"` // enrolled nodes that have it
	Rating     Rating    `json:"rating"`
	Yanked     string    `json:"yanked,omitempty"`  // why, when no release is left that is not
	Revoked    string    `json:"revoked,omitempty"` // likewise
	Score      float64   `json:"score,omitempty"`
}

// Rating is what the nodes that have a plugin think of it.
type Rating struct {
	Stars float64 `json:"stars"` // the mean; 0 when there is no review
	Count int     `json:"count"`
}

// list is never null in JSON.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
