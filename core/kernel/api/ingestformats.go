package api

import (
	"hash/maphash"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/core/kernel/ingest"
	"github.com/picketwatch/picket/core/kernel/store"
)

type pushSampleBody struct {
	Metric string            `json:"metric" minLength:"1" maxLength:"256" example:"room.temperature"`
	Unit   string            `json:"unit,omitempty" maxLength:"256" doc:"UCUM, for example s, By, Cel, 1."`
	Type   string            `json:"type,omitempty" enum:"gauge,counter" default:"gauge" doc:"counter: a total that only grows."`
	Help   string            `json:"help,omitempty" maxLength:"1024" doc:"What the metric says, kept with it."`
	Labels map[string]string `json:"labels,omitempty"`
	Time   *time.Time        `json:"time,omitempty" doc:"RFC 3339; without it, now."`
	Value  float64           `json:"value"`
}

type pushBody struct {
	Samples []pushSampleBody `json:"samples" nullable:"false" maxItems:"100000"`
}

type pushResultBody struct {
	Accepted int      `json:"accepted" doc:"Samples that are on disk."`
	Refused  int      `json:"refused,omitempty" doc:"Samples that will never be stored."`
	Errors   []string `json:"errors,omitempty" doc:"Why; the first ten."`
}

func readJSONPush(p *push) (*pushed, error) {
	body, err := p.body()
	if err == nil {
		err = p.take(ingest.WeighJSON(body))
	}
	if err != nil {
		return nil, err
	}
	b, err := ingest.ReadJSON(body, p.s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return p.put(b)
}

func answerJSONPush(p *push, out *pushed) {
	status := http.StatusOK
	if out.stored == 0 && out.dropped() > 0 {
		status = http.StatusUnprocessableEntity
	}
	writeJSON(p.c, status, pushResultBody{Accepted: out.stored, Refused: out.dropped(), Errors: out.refused.Told})
}

// inJSON reports whether an OTLP body is JSON.
func (p *push) inJSON() bool {
	kind, _, err := mime.ParseMediaType(p.c.GetHeader("Content-Type"))
	return err == nil && kind == "application/json"
}

func readOTLPPush(p *push) (out *pushed, err error) {
	body, err := p.body()
	if err != nil {
		return nil, err
	}
	weight, err := ingest.WeighOTLP(body, p.inJSON())
	if err == nil {
		err = p.take(weight)
	}
	if err != nil {
		return nil, err
	}
	turn := p.s.deltas.Begin(p.who.Tenant, p.sender, p.s.cfg.Now())
	defer func() { turn.Done(err == nil) }()
	b, err := ingest.OTLP{Turn: turn}.Read(body, p.inJSON())
	if err != nil {
		return nil, err
	}
	return p.put(b)
}

// answerOTLPPush writes an ExportMetricsServiceResponse.
func answerOTLPPush(p *push, out *pushed) {
	dropped := out.dropped()
	if p.inJSON() {
		partial := map[string]any{}
		if dropped > 0 {
			partial["partialSuccess"] = map[string]any{"rejectedDataPoints": dropped, "errorMessage": out.told()}
		}
		writeJSON(p.c, http.StatusOK, partial)
		return
	}
	var answer []byte
	if dropped > 0 {
		var partial []byte
		partial = protowire.AppendVarint(protowire.AppendTag(partial, 1, protowire.VarintType), uint64(dropped))
		partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), out.told())
		answer = protowire.AppendBytes(protowire.AppendTag(answer, 1, protowire.BytesType), partial)
	}
	p.c.Data(http.StatusOK, "application/x-protobuf", answer)
}

// failOTLPPush writes a google.rpc.Status.
func failOTLPPush(p *push, status int, detail string) {
	if p.inJSON() {
		writeJSON(p.c, status, map[string]string{"message": detail})
		return
	}
	p.c.Data(status, "application/x-protobuf", protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), detail))
}

func readRemoteWrite(p *push) (*pushed, error) {
	if _, params, err := mime.ParseMediaType(p.c.GetHeader("Content-Type")); err == nil && params["proto"] != "" && params["proto"] != "prometheus.WriteRequest" {
		return nil, huma.NewError(http.StatusUnsupportedMediaType, "this server takes remote write 1.0, prometheus.WriteRequest")
	}
	if p.c.GetHeader("Content-Encoding") != "snappy" {
		return nil, huma.NewError(http.StatusUnsupportedMediaType, "a remote write must be packed with snappy")
	}
	packed, err := p.gather(p.c.Request.Body, maxPushBody)
	if err != nil {
		return nil, unreadable(err, false)
	}
	body, err := p.unpackSnappy(packed)
	if err != nil {
		return nil, err
	}
	w := writing{push: p, out: &pushed{}, from: p.s.refs.of(p.who.Tenant, p.sender)}
	notes, err := ingest.ReadRemoteWrite(body, w.series)
	if err != nil {
		return nil, err
	}
	res, err := p.s.cfg.Telemetry.AppendRefs(p.c.Request.Context(), p.who.Tenant, p.sender, w.samples)
	if err != nil {
		return nil, err
	}
	w.out.stored = res.Stored
	w.out.add(res)
	p.note(notes)
	if res.Stored > 0 && p.s.cfg.Live.Clients() > 0 {
		p.s.cfg.Live.Publish(p.who.Tenant, "samples", liveSamples{Agent: p.sender, Metrics: metricsOf(w.samples)})
	}
	return w.out, nil
}

// writing is a remote write whose series are being found.
type writing struct {
	*push
	out     *pushed
	from    refsOf
	samples []store.RefSample
}

const refSampleSize = 24

func (w *writing) series(x *ingest.Series) error {
	if x.Histograms > 0 {
		w.out.refused.Add(ingest.Unsupported, x.Histograms, "%d samples are native histograms, which Picket does not store; send classic ones", x.Histograms)
	}
	if len(x.Points) == 0 {
		return nil
	}
	ref, key := w.from.find(x.Key)
	if !ref.Known() {
		s, err := x.Sample()
		if err != nil {
			w.out.refused.Add(ingest.Malformed, len(x.Points), "%s", err)
			return nil
		}
		var why string
		if ref, why = w.s.cfg.Telemetry.Ref(w.who.Tenant, w.sender, &s); why != "" {
			w.out.refused.Add("invalid", len(x.Points), "%.100q: %s", s.Metric, why)
			return nil
		}
		w.from.keep(key, ref)
	}
	if more := len(w.samples) + len(x.Points); more > cap(w.samples) {
		grown := max(1024, more, 2*cap(w.samples))
		if err := w.take(int64(grown-cap(w.samples)) * refSampleSize); err != nil {
			return err
		}
		w.samples = append(make([]store.RefSample, 0, grown), w.samples...)
	}
	for _, at := range x.Points {
		w.samples = append(w.samples, store.RefSample{Series: ref, Millis: at.Millis, Value: at.Value})
	}
	return nil
}

func metricsOf(samples []store.RefSample) []string {
	names := map[string]bool{}
	for _, s := range samples {
		names[s.Series.Metric()] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// refs remember under which bytes a series was written, so that the next write needs not read its labels. Two hashes whose
// seeds nobody knows stand for the bytes. It holds two generations: what was not asked for while one filled up goes with it.
type refs struct {
	seeds [2]maphash.Seed

	mu         sync.RWMutex // guards what follows
	young, old map[refKey]store.SeriesRef
}

type refKey [2]uint64

const maxRefs = 200_000 // of a generation

func newRefs() *refs {
	return &refs{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, young: map[refKey]store.SeriesRef{}}
}

// refsOf are those of one sender.
type refsOf struct {
	*refs
	sender refKey
}

func (r *refs) of(tenant, sender string) refsOf {
	who := tenant + "\x00" + sender
	return refsOf{r, refKey{maphash.String(r.seeds[0], who), maphash.String(r.seeds[1], who)}}
}

func (r refsOf) find(series []byte) (store.SeriesRef, refKey) {
	key := refKey{r.sender[0] ^ maphash.Bytes(r.seeds[0], series), r.sender[1] ^ maphash.Bytes(r.seeds[1], series)}
	r.mu.RLock()
	ref, known := r.young[key]
	if !known {
		ref = r.old[key]
	}
	r.mu.RUnlock()
	if !known && ref.Known() {
		r.keep(key, ref)
	}
	return ref, key
}

func (r *refs) keep(key refKey, ref store.SeriesRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= maxRefs {
		r.young, r.old = map[refKey]store.SeriesRef{}, r.young
	}
	r.young[key] = ref
}

// answerRemoteWrite answers as a receiver should: what was refused makes it a 400, which a sender does not repeat.
func answerRemoteWrite(p *push, out *pushed) {
	if out.dropped() > 0 {
		failInPlainText(p, http.StatusBadRequest, out.told())
		return
	}
	p.c.Status(http.StatusNoContent)
}

func failInPlainText(p *push, status int, detail string) {
	p.c.Data(status, "text/plain; charset=utf-8", []byte(detail+"\n"))
}

// readInfluxPush reads line protocol; into is the parameter that says where its sender believes to write.
func readInfluxPush(into string) func(p *push) (*pushed, error) {
	return func(p *push) (*pushed, error) {
		body, err := p.body()
		if err == nil {
			err = p.take(ingest.WeighInflux(body))
		}
		if err != nil {
			return nil, err
		}
		f := ingest.Influx{Precision: p.c.Query("precision"), Now: p.s.cfg.Now()}
		if name := p.c.Query(into); name != "" {
			f.Labels = map[string]string{into: name}
		}
		b, err := f.Read(body)
		if err != nil {
			return nil, err
		}
		return p.put(b)
	}
}

func answerInfluxPush(p *push, out *pushed) {
	if out.dropped() > 0 {
		failInfluxPush(p, http.StatusBadRequest, "partial write: "+out.told())
		return
	}
	p.c.Status(http.StatusNoContent)
}

// failInfluxPush has what clients of both versions look for.
func failInfluxPush(p *push, status int, detail string) {
	code := "invalid"
	switch {
	case status == http.StatusRequestEntityTooLarge:
		code = "request too large"
	case status >= 500:
		code = "unavailable"
	}
	p.c.Header("X-Influxdb-Error", strings.ReplaceAll(detail, "\n", " "))
	writeJSON(p.c, status, map[string]string{"error": detail, "code": code, "message": detail})
}
