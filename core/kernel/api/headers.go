package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/registry/submission"
)

// Bounds of what a request may carry. Captures have their own, in the service that stores them.
const (
	maxBody         = 1 << 20
	maxSamples      = 8 << 20
	maxPacked       = 1 << 20
	maxSightings    = 8 << 20
	maxFlows        = 8 << 20
	maxFound        = 8 << 20
	maxEvidenceBody = 3 << 20
	maxStatus       = 512 << 10
	maxResult       = 128 << 10 // 16 KiB of output, of which JSON may escape every byte
	maxAgentBody    = 64 << 10  // of all else that agents send
)

// agentBodyLimit is how much an agent may send to a route.
func agentBodyLimit(path string) int64 {
	switch path {
	case "/api/v1/metrics":
		return maxSamples
	case packedPath:
		return maxPacked
	case "/api/v1/sightings":
		return maxSightings
	case flowsPath:
		return maxFlows
	case findingsPath:
		return maxFound
	case evidencePath:
		return maxEvidenceBody
	case "/api/v1/agent/status":
		return maxStatus
	case "/api/v1/agent/commands/:id/result":
		return maxResult
	}
	return maxAgentBody
}

// contentPolicy lets a page load what this server sent and nothing else; nothing inline, no other host. Frames are for the
// pages of plugins, which come with a stricter policy of their own.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// secure sets the headers that every answer carries.
func secure(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	if strings.HasPrefix(c.Request.URL.Path, "/api/") {
		h.Set("Cache-Control", "no-store")
	}
	if c.Request.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	c.Next()
}

// bounded refuses bodies over the limit before anybody reads them. An upload of a capture is bounded by its service.
func bounded(c *gin.Context) {
	switch c.FullPath() {
	case capturesPath:
		c.Request.Body = &patientBody{ReadCloser: c.Request.Body, control: http.NewResponseController(c.Writer)}
	case publishPath:
		archive := http.MaxBytesReader(c.Writer, c.Request.Body, submission.MaxArchive)
		c.Request.Body = &patientBody{ReadCloser: archive, control: http.NewResponseController(c.Writer)}
	case registryPath: // which takes archives too, from anybody: the registry's server says how long each may take
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, submission.MaxArchive)
	default:
		limit := int64(maxBody)
		switch r := access[c.Request.Method+" "+c.FullPath()]; {
		case r.agent:
			limit = agentBodyLimit(c.FullPath())
		case r.push:
			limit = maxPushBody
		}
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, limit)
	}
	c.Next()
}

// patientBody moves the server's deadline along with every read: an upload may take long as long as it moves.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	// A writer without deadlines, as in a test, has none that could end the upload.
	_ = b.control.SetReadDeadline(time.Now().Add(uploadSilence))
	return b.ReadCloser.Read(p)
}

// readBody takes the whole body and puts it back for the handler.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	var read bytes.Buffer
	if told := min(r.ContentLength, limit, 64<<10); told > 0 { // what comes, not what is promised, takes more than that
		read.Grow(int(told) + bytes.MinRead)
	}
	_, err := read.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	body := read.Bytes()
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, errBroken
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}
