package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/picketwatch/picket/internal/bench/refpack"
)

const (
	packSource = "./internal/bench/refpack"
	packPath   = "/api/v1/plugins/" + refpack.ID
	packWithin = time.Minute
)

// publishPack signs the reference pack into the development registry of the server, as its own plugins were.
func (s *server) publishPack(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "bin/picket", "plugin", "publish", "--registry", filepath.Join(s.data, "registry"),
		"--keys", filepath.Join(s.data, "registry-keys"), "--out", filepath.Join(s.data, "pack-build"), packSource).CombinedOutput()
	if err != nil {
		return fmt.Errorf("publish the reference pack: %w\n%s", err, out)
	}
	return s.until(ctx, "sees the reference pack in its registry", func() bool {
		return s.get(ctx, packPath, nil) == nil
	})
}

// enablePack runs the pack beside the default detectors.
func (s *server) enablePack(ctx context.Context) error {
	if err := s.post(ctx, packPath+"/enable", `{"grants":"all"}`); err != nil {
		return err
	}
	return s.until(ctx, "runs the reference pack", func() bool {
		return slices.Equal(s.states(ctx, packPath), []string{"ready"})
	})
}

// disablePack ends its process.
func (s *server) disablePack(ctx context.Context) error {
	if err := s.post(ctx, packPath+"/disable", `{}`); err != nil {
		return err
	}
	return s.until(ctx, "has stopped the reference pack", func() bool { return len(s.states(ctx, packPath)) == 0 })
}

// states are those of a plugin's instances.
func (s *server) states(ctx context.Context, path string) (states []string) {
	var p struct{ Instances []struct{ State string } }
	if err := s.get(ctx, path, &p); err != nil {
		return []string{err.Error()}
	}
	for _, i := range p.Instances {
		states = append(states, i.State)
	}
	return states
}

func (s *server) until(ctx context.Context, what string, holds func() bool) error {
	for end := time.Now().Add(packWithin); !holds(); {
		if time.Now().After(end) {
			return fmt.Errorf("after %s it is not so that the server %s", packWithin, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jobPoll):
		}
	}
	return nil
}
