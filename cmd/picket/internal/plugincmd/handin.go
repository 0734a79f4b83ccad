package plugincmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/gatecheck"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/intake"
)

// isAddress tells a registry across the network from a folder.
func isAddress(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// handIn builds plugins and hands each in to a registry across the network.
func (a *submitter) handIn(cmd *cobra.Command, b *builder, dirs []string, asJSON bool) error {
	plugins, err := b.read(dirs)
	if err != nil {
		return err
	}
	c, err := a.open()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := b.build(cmd.Context(), plugins); err != nil {
		return err
	}
	for _, p := range plugins {
		archive := filepath.Join(p.dir, "release.tar")
		if err := a.pack(cmd.Context(), cmd, c, p.Submission, archive); err != nil {
			return err
		}
		job, err := a.send(cmd, archive, p.manifest.ID, asJSON)
		if err := errors.Join(err, os.Remove(archive)); err != nil {
			return fmt.Errorf("publish %s %s: %w", p.manifest.ID, p.manifest.Version, err)
		}
		if asJSON {
			if err := columns.JSON(cmd.OutOrStdout(), job); err != nil {
				return err
			}
		}
		if job.State != intake.StatePublished {
			return fmt.Errorf("publish %s %s: %s", job.Plugin, job.Version, job.Problem)
		}
		if !asJSON {
			columns.New(cmd.OutOrStdout()).Line(columns.S(columns.Good, "published "), columns.C(job.Plugin+" "+job.Version),
				columns.S(columns.Dim, "  tier "+registry.TierOf(job.Gates)))
		}
	}
	return nil
}

// send uploads an archive and follows its job to the end.
func (a *submitter) send(cmd *cobra.Command, archive, id string, quiet bool) (job intake.Job, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return job, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return job, err
	}
	bar := uploadBar(cmd.ErrOrStderr(), id, info.Size())
	target, err := url.JoinPath(a.registry, "v1/releases")
	if err != nil {
		return job, err
	}
	var accepted struct {
		Job string `json:"job"`
	}
	body := io.TeeReader(f, bar)
	if err := request(cmd.Context(), http.MethodPost, target, body, info.Size(), &accepted); err != nil {
		return job, err
	}
	_ = bar.Finish() // it only draws
	if job, err = a.follow(cmd.Context(), accepted.Job, func(g registry.Gate) {
		if !quiet {
			columns.New(cmd.ErrOrStderr()).Line(columns.S(columns.Dim, fmt.Sprintf("    %-16s %s", g.Name, g.State)))
		}
	}); err == nil && !quiet {
		gatecheck.Print(columns.New(cmd.OutOrStdout()), job.Gates)
	}
	return job, err
}

// pollEvery is how often a job is looked at: gates take seconds.
const pollEvery = 500 * time.Millisecond

func (a *submitter) follow(ctx context.Context, id string, seen func(registry.Gate)) (job intake.Job, err error) {
	target, err := url.JoinPath(a.registry, "v1/jobs", id)
	if err != nil {
		return job, err
	}
	shown := 0
	for {
		job = intake.Job{}
		if err := request(ctx, http.MethodGet, target, nil, 0, &job); err != nil {
			return job, err
		}
		for ; shown < len(job.Gates); shown++ {
			seen(job.Gates[shown])
		}
		if job.State != intake.StateChecking {
			return job, nil
		}
		select {
		case <-ctx.Done():
			return job, ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

// maxAnswer bounds what a registry may say.
const maxAnswer = 4 << 20

// request makes one request. A problem that the registry states becomes the error.
func request(ctx context.Context, method, target string, body io.Reader, size int64, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", intake.ContentType)
		req.Header.Set("Expect", "100-continue") // a registry that takes nothing says so first
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		var problem struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(data, &problem) == nil && problem.Detail != "" {
			return fmt.Errorf("the registry says: %s", problem.Detail)
		}
		return fmt.Errorf("%s %s: %s", method, target, res.Status)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s is no registry that takes releases in: %w", target, err)
	}
	return nil
}

// uploadBar shows how far an upload is, on a terminal.
func uploadBar(stderr io.Writer, what string, size int64) *progressbar.ProgressBar {
	out := io.Discard
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		out = f
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}
