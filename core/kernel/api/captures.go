package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/store"
)

const capturesPath = "/api/v1/captures"

// maxForm is what a form may add to a file.
const maxForm = 64 << 10

// uploadSilence is how long an upload may send nothing.
const uploadSilence = 30 * time.Second

type captureBody struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	SHA256    string       `json:"sha256"`
	Size      int64        `json:"size"`
	State     string       `json:"state" enum:"queued,running,stopped,done,failed"`
	Place     int          `json:"place,omitempty" doc:"In the queue, from 1, while it waits."`
	Progress  float64      `json:"progress" minimum:"0" maximum:"1"`
	Packets   uint64       `json:"packets"`
	Bytes     uint64       `json:"bytes" doc:"On the wire."`
	Flows     uint64       `json:"flows"`
	Undecoded uint64       `json:"undecoded" doc:"Packets that no decoder understood."`
	Truncated bool         `json:"truncated" doc:"The file ends in the middle of a packet."`
	First     *time.Time   `json:"first_packet,omitempty"`
	Last      *time.Time   `json:"last_packet,omitempty"`
	Error     string       `json:"error,omitempty"`
	Findings  int          `json:"findings"`
	Skipped   string       `json:"skipped,omitempty" doc:"What the verdict did not see."`
	Created   time.Time    `json:"created"`
	Started   *time.Time   `json:"started,omitempty"`
	Finished  *time.Time   `json:"finished,omitempty"`
	Quality   *qualityBody `json:"quality,omitempty" doc:"Of a single capture: how good it is, once it has been read."`
}

func captureOf(c store.Capture) captureBody {
	return captureBody{ID: c.ID, Name: c.Name, SHA256: c.SHA256, Size: c.Size, State: c.State, Progress: c.Progress,
		Packets: c.Packets, Bytes: c.Bytes, Flows: c.Flows, Undecoded: c.Undecoded, Truncated: c.Truncated,
		First: when(c.FirstPacket), Last: when(c.LastPacket), Error: c.Error, Findings: c.Findings, Skipped: c.Skipped,
		Created: c.Created.UTC(), Started: when(c.Started), Finished: when(c.Finished)}
}

// placed are captures with their places in the queue.
func (s *Server) placed(list []store.Capture) []captureBody {
	queue := s.cfg.Captures.Queue()
	out := convert(list, captureOf)
	for i := range out {
		out[i].Place = slices.Index(queue, out[i].ID) + 1
	}
	return out
}

// queued is answered with one capture.
func (s *Server) queued(c store.Capture) *body[captureBody] {
	out := s.placed([]store.Capture{c})[0]
	out.Quality = qualityOf(c)
	return answer(out)
}

func (s *Server) captureRoutes() {
	tags := []string{"captures"}
	handle(s, huma.Operation{OperationID: "list-captures", Method: http.MethodGet, Path: capturesPath, Tags: tags,
		Summary: "Uploaded captures, newest first"},
		func(ctx context.Context, in *PageQuery) (*body[page[captureBody]], error) {
			l, next, err := s.cfg.Control.ListCaptures(ctx, caller(ctx).Tenant, in.page())
			return answerPage(s.placed(l), next), err
		})
	handle(s, huma.Operation{OperationID: "get-capture", Method: http.MethodGet, Path: capturesPath + "/{id}", Tags: tags,
		Summary: "A capture and how far its analysis is"},
		func(ctx context.Context, in *IDPath) (*body[captureBody], error) {
			c, err := s.cfg.Control.CaptureByID(ctx, caller(ctx).Tenant, in.ID)
			return s.queued(c), err
		})
	handle(s, huma.Operation{OperationID: "delete-capture", Method: http.MethodDelete, Path: capturesPath + "/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Delete a capture with its flows and end its analysis; what was found stays"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			c, err := s.cfg.Control.CaptureByID(ctx, caller(ctx).Tenant, in.ID)
			if err == nil {
				err = s.cfg.Captures.Delete(ctx, c)
			}
			s.act(ctx, "capture.delete", "capture:"+in.ID, c.Name, err)
			return nil, err
		})
	s.captureJobRoutes(tags)
	s.packetRoutes(tags)
	// The upload goes past huma, which would hold the whole body in memory.
	s.engine.POST(capturesPath, s.upload)
	s.documentUpload(tags)
}

// captureJobRoutes are what can be done with the analysis of a capture.
func (s *Server) captureJobRoutes(tags []string) {
	for _, r := range []struct {
		word, summary string
		do            func(Captures, context.Context, store.Capture) (store.Capture, error)
	}{
		{"cancel", "Stop the analysis of a capture; what it found stays", Captures.Cancel},
		{"resume", "Take up the analysis of a capture that was stopped or failed, from its first packet; nothing is told twice", Captures.Resume},
		{"analyse", "Analyse a capture again, with the detectors of now", Captures.Analyse},
		{"first", "Analyse a waiting capture before all others that wait", Captures.First},
	} {
		handle(s, huma.Operation{OperationID: r.word + "-capture", Method: http.MethodPost, Path: capturesPath + "/{id}/" + r.word, Tags: tags,
			Summary: r.summary},
			func(ctx context.Context, in *IDPath) (*body[captureBody], error) {
				c, err := s.cfg.Control.CaptureByID(ctx, caller(ctx).Tenant, in.ID)
				if err == nil {
					c, err = r.do(s.cfg.Captures, ctx, c)
				}
				s.act(ctx, "capture."+r.word, "capture:"+in.ID, c.Name, err)
				return s.queued(c), err
			})
	}
}

func (s *Server) documentUpload(tags []string) {
	file := &huma.Schema{Type: huma.TypeObject, Required: []string{"file"}, Properties: map[string]*huma.Schema{
		"file": {Type: huma.TypeString, Format: "binary"}}}
	raw := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	op := huma.Operation{OperationID: "upload-capture", Method: http.MethodPost, Path: capturesPath, Tags: tags,
		Summary: "Upload a pcap or pcapng file and have it analysed",
		Parameters: []*huma.Param{{Name: "name", In: "query", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "What the file is called, when the body is the file itself."}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"multipart/form-data": {Schema: file}, "application/octet-stream": {Schema: raw}}},
		Responses: map[string]*huma.Response{"202": {Description: "Stored; the analysis has been queued.",
			Content: map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(s.huma.OpenAPI().Components.Schemas, typeOf[captureBody]())}}}},
	}
	describeAccess(&op)
	op.Errors = nil
	s.huma.OpenAPI().AddOperation(&op)
}

func (s *Server) upload(c *gin.Context) {
	name, file, err := uploadedFile(c.Request)
	if err != nil {
		s.refuse(c, http.StatusUnprocessableEntity, err.Error())
		return
	}
	ctx := c.Request.Context()
	if c.Request.ContentLength > s.cfg.Captures.MaxUpload()+maxForm {
		s.act(ctx, "capture.upload", "capture:", name, ErrUploadTooBig)
		s.fail(c, ErrUploadTooBig) // before hours of sending
		return
	}
	stored, err := s.cfg.Captures.Receive(ctx, caller(ctx).Tenant, name, caller(ctx).Actor(), file)
	s.act(ctx, "capture.upload", "capture:"+stored.ID, name, err)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errBroken
		}
		s.fail(c, err)
		return
	}
	c.Header("Location", capturesPath+"/"+stored.ID)
	c.JSON(http.StatusAccepted, captureOf(stored))
}

// uploadedFile finds the file in a form, or takes the body for it. It reads nothing of the file.
func uploadedFile(r *http.Request) (string, io.Reader, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return r.URL.Query().Get("name"), r.Body, nil
	}
	form, err := r.MultipartReader()
	if err != nil {
		return "", nil, errors.New("the form is not understood")
	}
	for range 16 {
		part, err := form.NextPart()
		if err != nil {
			break
		}
		if part.FormName() == "file" {
			return part.FileName(), part, nil
		}
	}
	return "", nil, errors.New("the form has no field named file")
}
