package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/agentpack"
)

// AgentRelease is the newest agent for one platform, as the signed registry vouches for it.
type AgentRelease struct {
	Version, OS, Arch string
	SHA256            string
	Size              int64
}

// File is what the archive is called.
func (r AgentRelease) File() string { return agentpack.FileName(r.Version, r.OS, r.Arch) }

// Shelf has the agent for those machines that have none.
type Shelf interface {
	// Newest are the archives of the newest release whose signatures are fresh, by platform. A *registry.Refusal says why
	// there are none.
	Newest(ctx context.Context) ([]AgentRelease, error)
	// Open returns the stored bytes of one; nobody has looked at them.
	Open(r AgentRelease) (*os.File, error)
}

// TokenPlace stands for the enrolment token in a line that adds a machine.
const TokenPlace = "{token}"

type agentReleaseBody struct {
	OS      string       `json:"os" doc:"As Go calls it: linux, darwin, windows."`
	Arch    string       `json:"arch" doc:"amd64, arm64, arm."`
	Version string       `json:"version"`
	SHA256  string       `json:"sha256" doc:"Of the archive. It comes from the signed registry."`
	Size    int64        `json:"size"`
	URL     string       `json:"url" doc:"Where the new machine fetches it, without a name."`
	Line    string       `json:"line" doc:"One line for a shell of the new machine: fetches the agent, goes on only if the digest is right, enrols and runs it. Put an enrolment token in the place of {token}."`
	Steps   []addingStep `json:"steps" nullable:"false" doc:"The same, step by step."`
}

type addingStep struct {
	Does string `json:"does" enum:"fetch,check,unpack,run"`
	Line string `json:"line"`
}

func (s *Server) installRoutes() {
	handle(s, huma.Operation{OperationID: "list-agent-releases", Method: http.MethodGet, Path: "/api/v1/agents/releases", Tags: []string{"agents"},
		Summary: "The newest agent by platform, and the line that adds a machine with it"}, s.agentReleases)
	s.engine.GET("/install/:file", s.installFile)
	s.engine.HEAD("/install/:file", s.installFile)
}

func (s *Server) newestAgents(ctx context.Context) ([]AgentRelease, error) {
	if s.cfg.Shelf == nil {
		return nil, huma.Error404NotFound("this server has no registry, and so no agent to give away")
	}
	list, err := s.cfg.Shelf.Newest(ctx)
	var no *registry.Refusal
	if errors.As(err, &no) && no.Reason == registry.NotVouched {
		return nil, huma.Error404NotFound("this server's registry holds no release of the agent; publish one with make agents registry")
	}
	return list, err
}

func (s *Server) agentReleases(ctx context.Context, in *struct {
	Scheme string `header:"X-Forwarded-Proto" hidden:"true"`
}) (*body[page[agentReleaseBody]], error) {
	list, err := s.newestAgents(ctx)
	if err != nil {
		return nil, err
	}
	base := s.baseURL(ctx, in.Scheme)
	return answerPage(convert(list, func(r AgentRelease) agentReleaseBody {
		b := agentReleaseBody{OS: r.OS, Arch: r.Arch, Version: r.Version, SHA256: r.SHA256, Size: r.Size, URL: base + "/install/" + r.File()}
		b.Line, b.Steps = installLines(b, plainElsewhere(base))
		return b
	}), ""), nil
}

// plainElsewhere reports whether an address is plain HTTP to another machine, which an agent must be told to put up with.
func plainElsewhere(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}

// installLines are the commands that bring the agent onto a machine. The token goes through a pipe that the shell itself
// writes into: other users of a machine read its command lines.
func installLines(r agentReleaseBody, plain bool) (string, []addingStep) {
	file := "picket-agent.tar.gz"
	flags := ""
	if plain {
		flags = " --insecure-http"
	}
	if r.OS == "windows" {
		steps := []addingStep{
			{"fetch", fmt.Sprintf("curl.exe -fsSL -o %s %s", file, r.URL)},
			{"check", fmt.Sprintf("if ((Get-FileHash %s).Hash -ne '%s') { throw 'this is not what the server signed' }", file, r.SHA256)},
			{"unpack", "tar -xzf " + file},
			{"run", fmt.Sprintf(`'%s' | .\picket-agent\picket-agent.exe --token-file -%s`, TokenPlace, flags)},
		}
		return "$ErrorActionPreference = 'Stop'; " + joinSteps(steps, "; "), steps
	}
	check := "sha256sum -c -"
	if r.OS == "darwin" {
		check = "shasum -a 256 -c -"
	}
	steps := []addingStep{
		{"fetch", fmt.Sprintf("curl -fsSL -o %s %s", file, r.URL)},
		{"check", fmt.Sprintf("echo '%s  %s' | %s", r.SHA256, file, check)},
		{"unpack", "tar -xzf " + file},
		{"run", fmt.Sprintf("echo '%s' | ./picket-agent/picket-agent --token-file -%s", TokenPlace, flags)},
	}
	return joinSteps(steps, " && "), steps
}

func joinSteps(steps []addingStep, with string) string {
	var lines []string
	for _, s := range steps {
		lines = append(lines, s.Line)
	}
	return strings.Join(lines, with)
}

// maxInstalls is how many downloads are checked at once: strangers may ask, and each hashes an archive first.
const maxInstalls = 4

// installFile serves what the registry vouches for right now and nothing else; the bytes are hashed, once for each file that is stored.
func (s *Server) installFile(c *gin.Context) {
	list, err := s.newestAgents(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, r := range list {
		if r.File() == c.Param("file") {
			s.serveAgent(c, r)
			return
		}
	}
	s.refuse(c, http.StatusNotFound, "the registry vouches for no such file; /api/v1/agents/releases lists those that there are")
}

func (s *Server) serveAgent(c *gin.Context, r AgentRelease) {
	if err := s.installs.Acquire(c.Request.Context(), 1); err != nil {
		return // the client went away
	}
	f, err := s.cfg.Shelf.Open(r) // those who wait hold no file
	if err != nil {
		s.installs.Release(1)
		s.fail(c, err)
		return
	}
	defer f.Close()
	err = s.vouched.check(f, r, s.cfg.Now())
	s.installs.Release(1)
	if err != nil {
		s.cfg.Log.Error("an agent in the registry is not what was signed", "file", r.File(), "error", err)
		s.refuse(c, http.StatusBadGateway, "what this server stores is not what was signed, so it is not served; its registry must be published anew")
		return
	}
	if c.Request.Method == http.MethodGet {
		s.visits.add("fetched", peer(c.Request.Context()), s.cfg.Now())
	}
	c.Header("Cache-Control", "no-cache")
	c.Header("Content-Type", "application/gzip")
	c.Header("ETag", `"`+r.SHA256+`"`)
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, f)
}

// vouched remembers which files had the right digest, so that a download in pieces, or a thousand of them, hash an archive once.
type vouched struct {
	mu    sync.Mutex // guards files
	files map[string]os.FileInfo
}

const (
	maxVouched = 64
	// Within this time of a change a file can change again and look the same.
	settled = 2 * time.Second
)

func (v *vouched) check(f *os.File, r AgentRelease, now time.Time) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	v.mu.Lock()
	was := v.files[r.SHA256]
	v.mu.Unlock()
	if was != nil && os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime()) {
		return nil
	}
	if err := checkDigest(f, r); err != nil || now.Sub(is.ModTime()) < settled {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.files == nil || len(v.files) >= maxVouched {
		v.files = map[string]os.FileInfo{}
	}
	v.files[r.SHA256] = is
	return nil
}

func checkDigest(f *os.File, r AgentRelease) error {
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, r.Size+1))
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != r.Size || got != r.SHA256 {
		return fmt.Errorf("%d bytes with the digest %s", n, got)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
