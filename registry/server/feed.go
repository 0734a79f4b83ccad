package server

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxFeed is how many of the newest changes a feed has.
const maxFeed = 100

// change is a line of the feed.
type change struct {
	id    string // stays the same for ever
	title string
	text  string
	url   string
	at    time.Time
	tags  []string
}

// changes returns the newest releases, yanks and revocations, the newest first.
func (s *Server) changes() []change {
	sh := s.current()
	var all []change
	for _, p := range sh.index.Plugins {
		for _, r := range p.Releases {
			all = append(all, change{
				id: "urn:picket:release:" + r.Descriptor, title: p.ID + " " + r.Version, text: p.Summary, url: s.link(p.ID), at: r.Published,
				tags: []string{"release", p.Kind, r.Channel},
			})
		}
	}
	for _, w := range s.ledger.allWithdrawn() {
		p, ok := sh.index.Find(w.ID)
		if !ok {
			continue
		}
		r, ok := p.Release(w.Version)
		what := "yanked"
		still := r.Yanked != ""
		if w.Revoked {
			what, still = "revoked", r.Revoked != ""
		}
		if !ok || !still { // put back, or gone
			continue
		}
		all = append(all, change{
			id: "urn:picket:" + what + ":" + r.Descriptor, title: what + ": " + w.ID + " " + w.Version, text: w.Reason, url: s.link(w.ID), at: w.Time,
			tags: []string{what, p.Kind},
		})
	}
	slices.SortFunc(all, func(a, b change) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return all[:min(len(all), maxFeed)]
}

func (s *Server) link(id string) string {
	return strings.TrimSuffix(s.cfg.PublicURL, "/") + "/v1/plugins/" + id
}

// feedJSON answers with a JSON Feed 1.1.
func (s *Server) feedJSON(w http.ResponseWriter, r *http.Request) {
	type item struct {
		ID        string    `json:"id"`
		URL       string    `json:"url"`
		Title     string    `json:"title"`
		Text      string    `json:"content_text"`
		Published time.Time `json:"date_published"`
		Tags      []string  `json:"tags"`
	}
	feed := struct {
		Version string `json:"version"`
		Title   string `json:"title"`
		Home    string `json:"home_page_url,omitempty"`
		Items   []item `json:"items"`
	}{Version: "https://jsonfeed.org/version/1.1", Title: feedTitle, Home: s.cfg.PublicURL, Items: []item{}}
	for _, c := range s.changes() {
		feed.Items = append(feed.Items, item{c.id, c.url, c.title, c.text, c.at, c.tags})
	}
	data, err := json.Marshal(feed)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	send(w, r, "application/feed+json", data)
}

const feedTitle = "Picket registry: releases and withdrawals"

// feedAtom answers with Atom (RFC 4287).
func (s *Server) feedAtom(w http.ResponseWriter, r *http.Request) {
	type link struct {
		Href string `xml:"href,attr"`
	}
	type category struct {
		Term string `xml:"term,attr"`
	}
	type entry struct {
		ID         string     `xml:"id"`
		Title      string     `xml:"title"`
		Updated    string     `xml:"updated"`
		Link       link       `xml:"link"`
		Summary    string     `xml:"summary"`
		Categories []category `xml:"category"`
	}
	feed := struct {
		XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
		ID      string   `xml:"id"`
		Title   string   `xml:"title"`
		Author  string   `xml:"author>name"`
		Updated string   `xml:"updated"`
		Entries []entry  `xml:"entry"`
	}{ID: "urn:picket:registry:" + s.current().index.RootSHA256, Title: feedTitle, Author: "Picket registry"}
	changes := s.changes()
	feed.Updated = time.Unix(0, 0).UTC().Format(time.RFC3339)
	if len(changes) > 0 {
		feed.Updated = changes[0].at.UTC().Format(time.RFC3339)
	}
	for _, c := range changes {
		e := entry{ID: c.id, Title: c.title, Updated: c.at.UTC().Format(time.RFC3339), Link: link{c.url}, Summary: c.text}
		for _, t := range c.tags {
			e.Categories = append(e.Categories, category{t})
		}
		feed.Entries = append(feed.Entries, e)
	}
	data, err := xml.Marshal(feed)
	if err != nil {
		s.fail(w, r, fmt.Errorf("write feed: %w", err))
		return
	}
	send(w, r, "application/atom+xml", append([]byte(xml.Header), data...))
}
