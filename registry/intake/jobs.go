package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// The states of a job.
const (
	StateChecking  = "checking" // it was read; the gates look at it
	StatePublished = "published"
	StateRefused   = "refused"
)

// Job is a release on its way into the registry.
type Job struct {
	ID         string          `json:"id"`
	Plugin     string          `json:"plugin"`
	Version    string          `json:"version"`
	Descriptor string          `json:"descriptor_sha256"`
	State      string          `json:"state"`
	Gates      []registry.Gate `json:"gates"`
	Problem    string          `json:"problem,omitempty"`
	Time       time.Time       `json:"time"` // of the last change
}

// How many jobs are remembered, and how large the file of one may be.
const (
	maxJobs    = 1000
	maxJobFile = 1 << 20
)

// jobs remembers jobs across restarts, each in a file of its own.
type jobs struct {
	dir string
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[string]Job
}

func openJobs(dir string, now func() time.Time) (*jobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	j := &jobs{dir: dir, now: now, all: map[string]Job{}}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue // a write that a crash interrupted
		}
		data, err := durable.ReadFile(filepath.Join(dir, e.Name()), maxJobFile)
		if err != nil {
			return nil, err
		}
		var job Job
		if err := json.Unmarshal(data, &job); err != nil || job.ID != id {
			return nil, fmt.Errorf("%s: not a job", filepath.Join(dir, e.Name()))
		}
		j.all[id] = job
	}
	return j, nil
}

func (j *jobs) path(id string) string { return filepath.Join(j.dir, id+".json") }

func (j *jobs) get(id string) (Job, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job, ok := j.all[id]
	return job, ok
}

// put writes a job down.
func (j *jobs) put(job Job) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	job.Time = j.now().UTC()
	if job.Gates == nil {
		job.Gates = []registry.Gate{}
	}
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(j.path(job.ID), data, 0o600); err != nil {
		return err
	}
	j.all[job.ID] = job
	return j.forget()
}

// show changes a job for those who ask, without writing it down.
func (j *jobs) show(job Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job.Gates = slices.Clone(job.Gates)
	j.all[job.ID] = job
}

func (j *jobs) drop(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.all, id)
	os.Remove(j.path(id)) // what stays is settled at the next start
}

// forget drops the oldest finished jobs beyond those that are remembered.
func (j *jobs) forget() error {
	for len(j.all) > maxJobs {
		oldest := Job{}
		for _, job := range j.all {
			if job.State != StateChecking && (oldest.ID == "" || job.Time.Before(oldest.Time)) {
				oldest = job
			}
		}
		if oldest.ID == "" {
			return nil
		}
		delete(j.all, oldest.ID)
		if err := os.Remove(j.path(oldest.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// checking counts the jobs of a namespace that have not ended.
func (j *jobs) checking(namespace string) (n int) {
	for _, job := range j.unfinished() {
		if strings.HasPrefix(job.Plugin, namespace+"/") {
			n++
		}
	}
	return n
}

func (j *jobs) unfinished() []Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []Job
	for _, job := range j.all {
		if job.State == StateChecking {
			list = append(list, job)
		}
	}
	return list
}
