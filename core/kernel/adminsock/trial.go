package adminsock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Trial is a plugin that its author tries on a server that was started with --dev. On the wire its length as a
// little-endian uint32 comes first, then this as JSON, then the bytes of the artifacts.
type Trial struct {
	Descriptor []byte            `json:"descriptor"` // release.json, byte for byte
	Artifacts  []string          `json:"artifacts"`  // SHA-256 of those that follow, in their order; the descriptor knows their sizes
	Readme     []byte            `json:"readme,omitempty"`
	Runtime    string            `json:"runtime,omitempty"`
	Config     json.RawMessage   `json:"config,omitempty"`
	Secrets    map[string]string `json:"secrets,omitempty"`
	GrantAll   bool              `json:"grant_all,omitempty"`
	Grants     []string          `json:"grants,omitempty"`
	Interval   time.Duration     `json:"interval_ns,omitempty"`
	Scope      string            `json:"scope,omitempty"` // of a discovery
	Debug      bool              `json:"debug,omitempty"`
	// Models stand for what it requires. Their bytes follow those of the artifacts, in their order.
	Models []TrialModel `json:"models,omitempty"`
	// Interpreter is the author's own program for a plugin that needs one. The server takes it where its policy names none.
	Interpreter string `json:"interpreter,omitempty"`
}

// TrialModel is a file in the place of a model or a data pack.
type TrialModel struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// UnsignedRole stands in an explanation where the role of the registry does that vouches for a release.
const UnsignedRole = "nobody: it is not signed"

// maxTrial bounds the JSON of a Trial: a descriptor with a page, a readme and a configuration.
const maxTrial = 8 << 20

// Event is something that happened to a plugin under development.
type Event struct {
	Type    string    `json:"type"` // session, state, log, sample, sighting, finding, note, error
	Time    time.Time `json:"time,omitzero"`
	Session string    `json:"session,omitempty"`
	Page    string    `json:"page,omitempty"`
	State   string    `json:"state,omitempty"`
	Version string    `json:"version,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Level   string    `json:"level,omitempty"` // of a line of the log, or of confinement
	Text    string    `json:"text,omitempty"`
}

// Trials are the server's side of plugins under development.
type Trials struct {
	// Run runs a plugin until ctx ends; what happens goes to emit.
	Run func(ctx context.Context, t Trial, artifacts io.Reader, uid int, emit func(Event) error) error
	// Swap puts a newer build into its place.
	Swap func(ctx context.Context, session string, t Trial, artifacts io.Reader, uid int) error
	// Capture analyses a capture, so that a detector has something to see.
	Capture func(ctx context.Context, session, name string, capture io.Reader) error
	// Notice sends a test notice through a notifier and tells what came back.
	Notice func(ctx context.Context, session string) (string, error)
}

// errNoTrials is what a server without --dev says.
var errNoTrials = errors.New("this picketd runs signed plugins only: start it with --dev to try one that is not signed (a release build never does)")

func (h Handlers) trialRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /trials", func(w http.ResponseWriter, _ *http.Request) {
		var err error
		if h.Trials == nil {
			err = errNoTrials
		}
		answer(w, replyTo(err))
	})
	mux.HandleFunc("POST /trials/{session}/notices", func(w http.ResponseWriter, r *http.Request) {
		if h.Trials == nil {
			answer(w, replyTo(errNoTrials))
			return
		}
		text, err := h.Trials.Notice(r.Context(), r.PathValue("session"))
		out := replyTo(err)
		out.Text = text
		answer(w, out)
	})
	mux.HandleFunc("POST /trials", func(w http.ResponseWriter, r *http.Request) {
		t, rest, err := h.readTrial(w, r)
		if err != nil {
			answer(w, reply{Error: err.Error()})
			return
		}
		out := json.NewEncoder(w)
		flush := http.NewResponseController(w)
		w.Header().Set("Content-Type", "application/x-ndjson")
		err = h.Trials.Run(r.Context(), t, rest, peer(r), func(e Event) error {
			return errors.Join(out.Encode(e), flush.Flush())
		})
		if err != nil && r.Context().Err() == nil {
			_ = out.Encode(Event{Type: "error", Text: err.Error()}) // the other side may be gone
		}
	})
	mux.HandleFunc("PUT /trials/{session}", func(w http.ResponseWriter, r *http.Request) {
		t, rest, err := h.readTrial(w, r)
		if err == nil {
			err = h.Trials.Swap(r.Context(), r.PathValue("session"), t, rest, peer(r))
		}
		answer(w, replyTo(err))
	})
	mux.HandleFunc("POST /trials/{session}/captures/{name}", func(w http.ResponseWriter, r *http.Request) {
		err := errNoTrials
		if h.Trials != nil {
			if err = noDeadline(w); err == nil {
				err = h.Trials.Capture(r.Context(), r.PathValue("session"), r.PathValue("name"), r.Body)
			}
		}
		answer(w, replyTo(err))
	})
}

func replyTo(err error) reply {
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{}
}

func peer(r *http.Request) int {
	uid, ok := r.Context().Value(uidKey{}).(int)
	if !ok {
		return -1
	}
	return uid
}

// noDeadline takes the bound for small requests off one that carries programs and lasts as long as its author works.
func noDeadline(w http.ResponseWriter) error {
	return http.NewResponseController(w).SetReadDeadline(time.Time{})
}

func (h Handlers) readTrial(w http.ResponseWriter, r *http.Request) (Trial, io.Reader, error) {
	var t Trial
	if h.Trials == nil {
		return t, nil, errNoTrials
	}
	if err := noDeadline(w); err != nil {
		return t, nil, err
	}
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		return t, nil, err
	}
	t, err := decodeTrial(r.Body)
	return t, r.Body, err
}

func decodeTrial(r io.Reader) (t Trial, err error) {
	var size uint32
	if err := binary.Read(r, binary.LittleEndian, &size); err != nil || size == 0 || size > maxTrial {
		return t, fmt.Errorf("the request is not understood: a length of 1 to %d bytes comes first", maxTrial)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return t, fmt.Errorf("the request is not understood: %w", err)
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("the request is not understood: %w", err)
	}
	return t, nil
}

func encodeTrial(t Trial, artifacts io.Reader) (io.Reader, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	if len(text) > maxTrial {
		return nil, fmt.Errorf("the plugin's description, README and configuration have %d bytes; at most %d pass", len(text), maxTrial)
	}
	return io.MultiReader(bytes.NewReader(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))), bytes.NewReader(text), artifacts), nil
}

// RunTrial lets the server that runs on dir try a plugin, and tells each what happens, until ctx ends. The server
// removes the plugin when the connection ends, however that comes.
func RunTrial(ctx context.Context, dir string, t Trial, artifacts io.Reader, each func(Event)) error {
	body, err := encodeTrial(t, artifacts)
	if err != nil {
		return err
	}
	resp, err := send(ctx, dir, http.MethodPost, "/trials", body, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Event
			Error string `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("the answer of picketd is not understood: %w", err)
		}
		switch {
		case e.Error != "":
			return errors.New(e.Error)
		case e.Type == "error":
			return errors.New(e.Text)
		}
		each(e.Event)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("picketd went away: %w", err)
	}
	return errors.New("picketd went away")
}

// TakesTrials reports why the server that runs on dir would not try a plugin, before anything is built for it.
func TakesTrials(ctx context.Context, dir string) error {
	resp, err := send(ctx, dir, http.MethodGet, "/trials", nil, 15*time.Second)
	if err != nil {
		return err
	}
	_, err = readReply(resp)
	return err
}

// SendNotice has the server send a test notice through the notifier that a session runs, and tells what came back.
func SendNotice(ctx context.Context, dir, session string) (string, error) {
	resp, err := send(ctx, dir, http.MethodPost, "/trials/"+session+"/notices", nil, 5*time.Minute)
	if err != nil {
		return "", err
	}
	out, err := readReply(resp)
	return out.Text, err
}

// SwapTrial puts a newer build in the place of the one that a session runs.
func SwapTrial(ctx context.Context, dir, session string, t Trial, artifacts io.Reader) error {
	body, err := encodeTrial(t, artifacts)
	if err != nil {
		return err
	}
	return tell(ctx, dir, http.MethodPut, "/trials/"+session, body)
}

// AnalyseCapture has the server analyse a capture for a session.
func AnalyseCapture(ctx context.Context, dir, session, name string, capture io.Reader) error {
	return tell(ctx, dir, http.MethodPost, "/trials/"+session+"/captures/"+name, capture)
}

// tell makes a request that is only answered with whether it went well.
func tell(ctx context.Context, dir, method, path string, body io.Reader) error {
	resp, err := send(ctx, dir, method, path, body, 5*time.Minute)
	if err != nil {
		return err
	}
	_, err = readReply(resp)
	return err
}
