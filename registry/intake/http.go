package intake

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/picketwatch/picket/registry/internal/problem"
	"github.com/picketwatch/picket/registry/submission"
)

// ContentType is how an archive is labelled.
const ContentType = "application/x-tar"

// Handler returns the HTTP face: POST /v1/releases takes an archive, GET /v1/jobs/{id} says what became of it. Who may
// come here, and how often, is for whoever mounts it.
func (i *Intake) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/releases", i.postRelease)
	mux.HandleFunc("GET /v1/jobs/{id}", i.getJob)
	return mux
}

// maxOverhead is what an archive has besides its entries' bytes, generously.
const maxOverhead = 1 << 20

func (i *Intake) postRelease(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > submission.MaxArchive+maxOverhead {
		problem.Write(w, r, http.StatusRequestEntityTooLarge, fmt.Errorf("an archive has at most %d bytes", int64(submission.MaxArchive)))
		return
	}
	body := &brisk{r: r.Body, control: http.NewResponseController(w), end: time.Now().Add(patience)}
	job, err := i.Submit(r.Context(), body) // which reads no more than the intent declares
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		problem.Write(w, r, http.StatusUnprocessableEntity, err)
	case errors.Is(err, ErrBusy):
		w.Header().Set("Retry-After", "120")
		problem.Write(w, r, http.StatusServiceUnavailable, ErrBusy)
	case err != nil:
		i.cfg.Log.Error("a release could not be taken in", "error", err)
		problem.Write(w, r, http.StatusInternalServerError, errors.New("the registry cannot take this in now; its log says why"))
	default:
		w.Header().Set("Location", "jobs/"+job.ID)
		problem.JSON(w, http.StatusAccepted, map[string]string{"job": job.ID})
	}
}

// How long an archive may take to come: for its beginning, and for the rest in bytes per second.
const (
	patience = 30 * time.Second
	minRate  = 32 << 10
)

// brisk is a body that has to keep coming. Who sends a byte now and then would otherwise hold a connection for ever.
type brisk struct {
	r       io.Reader
	control *http.ResponseController
	end     time.Time
}

func (b *brisk) Read(p []byte) (int, error) {
	if time.Now().After(b.end) {
		return 0, os.ErrDeadlineExceeded
	}
	_ = b.control.SetReadDeadline(b.end) // one that has no deadlines is bounded by whoever wrapped it
	n, err := b.r.Read(p)
	b.end = b.end.Add(time.Duration(n) * time.Second / minRate)
	return n, err
}

func (i *Intake) getJob(w http.ResponseWriter, r *http.Request) {
	job, ok := i.Job(r.PathValue("id"))
	if !ok {
		problem.Write(w, r, http.StatusNotFound, errors.New("no such job; finished ones are forgotten after a while"))
		return
	}
	problem.JSON(w, http.StatusOK, job)
}
