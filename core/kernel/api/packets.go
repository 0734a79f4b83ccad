package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/carved"
)

const (
	flowPath = capturesPath + "/{id}/flows/{flow}"
	pcapType = "application/vnd.tcpdump.pcap"
	// maxNumbers bounds the packets that are asked for by number; a finding names fewer.
	maxNumbers = 1000
)

// UnreadableError says why packets cannot be taken out of a capture.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return e.Err.Error() }
func (e *UnreadableError) Unwrap() error { return e.Err }

// FlowPacketsQuery asks for packets of a flow.
type FlowPacketsQuery struct {
	IDPath
	Flow uint64 `path:"flow" minimum:"1" doc:"As the capture's flows are numbered."`
	PacketsPage
}

// NumberedPacketsQuery asks for packets by number.
type NumberedPacketsQuery struct {
	IDPath
	Numbers []uint64 `query:"numbers" required:"true" minItems:"1" maxItems:"1000" doc:"As in 3,7,12: what a finding names."`
	PacketsPage
}

// PacketsPage says which of the packets.
type PacketsPage struct {
	After uint64 `query:"after" doc:"Only packets with higher numbers."`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

// packetRoutes take packets out of stored captures. What they answer was decoded by a confined worker, never here.
func (s *Server) packetRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "list-flow-packets", Method: http.MethodGet, Path: flowPath + "/packets", Tags: tags,
		Summary: "The packets of a flow, decoded, with where each value stands"},
		func(ctx context.Context, in *FlowPacketsQuery) (*body[carved.PacketPage], error) {
			return s.packets(ctx, in.ID, carved.Wanted{Flow: in.Flow, After: in.After, Limit: in.Limit})
		})
	handle(s, huma.Operation{OperationID: "list-packets", Method: http.MethodGet, Path: capturesPath + "/{id}/packets", Tags: tags,
		Summary: "Packets by number, decoded, with where each value stands"},
		func(ctx context.Context, in *NumberedPacketsQuery) (*body[carved.PacketPage], error) {
			return s.packets(ctx, in.ID, carved.Wanted{Numbers: ascending(in.Numbers), After: in.After, Limit: in.Limit})
		})
	// Files go past huma, which would hold them in memory.
	s.engine.GET(ginPath(flowPath+"/pcap"), s.flowFile)
	s.engine.GET(ginPath(capturesPath+"/{id}/pcap"), s.packetsFile)
	s.documentFile(tags, "get-flow-pcap", flowPath+"/pcap", "The packets of a flow as a pcap file",
		&huma.Param{Name: "flow", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeInteger}})
	s.documentFile(tags, "get-pcap", capturesPath+"/{id}/pcap", "Packets by number as a pcap file",
		&huma.Param{Name: "numbers", In: "query", Required: true, Schema: &huma.Schema{Type: huma.TypeString}, Description: "As in 3,7,12."})
}

func (s *Server) documentFile(tags []string, id, path, summary string, param *huma.Param) {
	op := huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: tags, Summary: summary,
		Parameters: []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}, param},
		Responses: map[string]*huma.Response{"200": {Description: "A pcap file, with times in nanoseconds.",
			Content: map[string]*huma.MediaType{pcapType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}}
	describeAccess(&op)
	op.Errors = nil
	s.huma.OpenAPI().AddOperation(&op)
}

func (s *Server) packets(ctx context.Context, id string, w carved.Wanted) (*body[carved.PacketPage], error) {
	c, err := s.cfg.Control.CaptureByID(ctx, caller(ctx).Tenant, id)
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Captures.Packets(ctx, c, w)
	if page.Items == nil {
		page.Items = []carved.DecodedPacket{}
	}
	return answer(page), err
}

func (s *Server) flowFile(c *gin.Context) {
	flow, err := strconv.ParseUint(c.Param("flow"), 10, 64)
	if err != nil || flow == 0 {
		s.fail(c, ErrNoPackets)
		return
	}
	s.file(c, carved.Wanted{Flow: flow}, fmt.Sprintf("flow-%d", flow))
}

func (s *Server) packetsFile(c *gin.Context) {
	var numbers []uint64
	for text := range strings.SplitSeq(c.Query("numbers"), ",") {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || len(numbers) == maxNumbers {
			s.refuse(c, http.StatusUnprocessableEntity, fmt.Sprintf("numbers must be up to %d numbers of packets, as in 3,7,12", maxNumbers))
			return
		}
		numbers = append(numbers, n)
	}
	s.file(c, carved.Wanted{Numbers: ascending(numbers)}, "packets")
}

func ascending(numbers []uint64) []uint64 {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// file sends packets as a file. An error before the first byte is answered as one; later only breaking off is left.
func (s *Server) file(c *gin.Context, w carved.Wanted, what string) {
	ctx := c.Request.Context()
	capture, err := s.cfg.Control.CaptureByID(ctx, caller(ctx).Tenant, c.Param("id"))
	out := &download{c: c, name: strings.TrimSuffix(capture.Name, path.Ext(capture.Name)) + "-" + what + ".pcap"}
	if err == nil {
		err = s.cfg.Captures.Carve(ctx, capture, w, out)
	}
	s.act(ctx, "capture.download", "capture:"+c.Param("id"), what, err)
	switch {
	case err == nil:
	case out.begun:
		s.cfg.Log.Warn("a download of packets broke off", "capture", capture.ID, "error", err)
		panic(http.ErrAbortHandler) // the reader must not take what came for the whole
	default:
		s.fail(c, err)
	}
}

// download sends the head of the answer with its first bytes.
type download struct {
	c     *gin.Context
	name  string
	begun bool
}

func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.c.Header("Content-Type", pcapType)
		d.c.Header("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.name}))
		d.c.Header("Cache-Control", "no-store")
		d.c.Status(http.StatusOK)
	}
	n, err := d.c.Writer.Write(p)
	if err != nil {
		return n, errors.Join(context.Canceled, err)
	}
	return n, nil
}
