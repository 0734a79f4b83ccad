package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// job is a capture of the server, as far as the benchmarks ask.
type job struct {
	ID       string
	State    string
	Error    string
	Skipped  string // what the verdict did not see
	Packets  uint64
	Flows    uint64
	Findings int
	Quality  struct{ Outcomes map[string]uint64 }
}

// accounted is how many packets have an outcome.
func (j job) accounted() (sum uint64) {
	for _, n := range j.Quality.Outcomes {
		sum += n
	}
	return sum
}

// lacking reports whether a detector or the store missed something. That the capture is damaged is no news.
func (j job) lacking() bool {
	for _, words := range []string{"did not take part", "is incomplete", "were left out", "are not kept"} {
		if strings.Contains(j.Skipped, words) {
			return true
		}
	}
	return false
}

const (
	jobPoll    = 50 * time.Millisecond
	memoryPoll = 250 * time.Millisecond // the kernel walks over all pages for it
)

// analyse has the server analyse a capture that it has, and counts what all its processes spend from the order to the end of
// the job: server, worker, detectors, and the agent beside them.
func (s *server) analyse(ctx context.Context, id string) (job, cost, error) {
	before, err := cpuOfFamily(s.cmd.Process.Pid)
	if err != nil {
		return job{}, cost{}, err
	}
	began := time.Now()
	if err := s.post(ctx, "/api/v1/captures/"+id+"/analyse", ""); err != nil {
		return job{}, cost{}, err
	}
	j, c, err := s.await(ctx, id)
	if err != nil {
		return job{}, cost{}, err
	}
	c.wall = time.Since(began)
	after, err := cpuOfFamily(s.cmd.Process.Pid)
	c.cpu = after - before
	return j, c, err
}

// await waits for the end of a capture's job and watches the memory of all processes meanwhile.
func (s *server) await(ctx context.Context, id string) (j job, c cost, err error) {
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return j, c, ctx.Err()
		case <-time.After(jobPoll):
		}
		if time.Since(looked) > memoryPoll {
			looked = time.Now()
			now, err := memoryOfFamily(s.cmd.Process.Pid)
			if err != nil {
				return j, c, err
			}
			c = peak([]cost{c, {rss: now.rss, peak: now}})
		}
		j = job{}
		if err := s.get(ctx, "/api/v1/captures/"+id, &j); err != nil {
			return j, c, err
		}
		switch {
		case j.State == "failed":
			return j, c, errors.New(j.Error)
		case j.State == "done" && j.lacking():
			return j, c, fmt.Errorf("less was done than is measured: %s", j.Skipped)
		case j.State == "done":
			return j, c, nil
		}
	}
}

// upload stores a capture, whose analysis the server then begins by itself.
func (s *server) upload(ctx context.Context, capture string) (id string, err error) {
	in, err := os.Open(capture)
	if err != nil {
		return "", err
	}
	defer in.Close()
	var stored job
	err = s.call(ctx, http.MethodPost, "/api/v1/captures?name=bench.pcap", "application/octet-stream", in, &stored)
	return stored.ID, err
}

func (s *server) get(ctx context.Context, path string, into any) error {
	return s.call(ctx, http.MethodGet, path, "", nil, into)
}

func (s *server) post(ctx context.Context, path, body string) error {
	return s.call(ctx, http.MethodPost, path, "application/json", strings.NewReader(body), nil)
}

// call asks the API for one thing.
func (s *server) call(ctx context.Context, method, path, contentType string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Picket-CSRF", s.csrf)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := *s.Client
	client.Timeout = 0 // an upload takes as long as it takes; ctx ends it
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
