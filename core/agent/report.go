package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/picketwatch/picket/core/agent/spool"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/schedule"
	"github.com/picketwatch/picket/core/services/collect"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/registry"
)

// Status is what the agent knows about itself. It goes to the server and to the page on loopback.
type Status struct {
	Version       string    `json:"version"`
	AgentID       string    `json:"agent_id"`
	Name          string    `json:"name"`
	Server        string    `json:"server"`
	Started       time.Time `json:"started"`
	LastContact   time.Time `json:"last_contact,omitzero"` // when the server last answered
	ClockOffset   float64   `json:"clock_offset_seconds"`  // the server's clock is ahead by; 0 while that is tolerable
	ConfigVersion int64     `json:"config_version"`        // -1: none yet
	// ConfigRejected is the newest configuration, when that cut this agent off from the server and another runs.
	ConfigRejected *Rejection          `json:"config_rejected,omitempty"`
	Plugins        []pluginhost.Status `json:"plugins"`
	Queue          spool.Stats         `json:"queue"`
	// Processes is what the running instances rest on: their bytes, their confinement, what they used.
	Processes       map[string]pluginhost.ProcessExplanation `json:"processes"`
	Sending         SendState                                `json:"sending"`
	Registry        RegistryState                            `json:"registry"`
	Ceiling         string                                   `json:"ceiling"` // the file that limits what may run here
	CeilingRefusals []string                                 `json:"ceiling_refusals"`
	Waiting         []string                                 `json:"waiting"` // settings that cannot be applied yet, and why
	Collections     []collect.Stat                           `json:"collections"`
	Discoveries     []schedule.Stat                          `json:"discoveries"`
	Captures        []traffic.LiveFigures                    `json:"captures"`
	Detections      []detect.Figures                         `json:"detections"` // of those that judge captures
	Evidence        EvidenceFigures                          `json:"evidence"`   // the packets of what they found
}

// RegistryState says what this agent trusts and how fresh that is.
type RegistryState struct {
	Trust      string    `json:"trust"` // "development" or "release"
	RootSHA256 string    `json:"root_sha256"`
	Refreshed  time.Time `json:"refreshed,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
}

// Status returns the state of everything.
func (a *Agent) Status() Status {
	reg := a.registry.Status()
	st := Status{
		Version: config.Version, AgentID: a.id.AgentID, Name: a.id.Name, Server: a.id.Server, Started: a.started,
		LastContact:   a.server.lastContact(),
		ClockOffset:   time.Duration(a.server.offset.Load()).Seconds(),
		ConfigVersion: a.plugins.version(), ConfigRejected: a.plugins.rejection(),
		Plugins:     a.plugins.states(a.host.Instances()),
		Processes:   a.host.Report(),
		Queue:       a.spool.Stats(),
		Sending:     a.outbox.status(),
		Registry:    RegistryState{Trust: reg.Trust, RootSHA256: reg.RootSHA256, Refreshed: reg.Refreshed, Expires: reg.Expires},
		Ceiling:     a.ceiling.Source(),
		Collections: a.collect.Stats(),
		Discoveries: a.discover.Stats(),
		Captures:    a.captureFigures(),
	}
	st.Detections = a.detectionFigures()
	st.Evidence = a.evidence.numbers()
	st.CeilingRefusals, st.Waiting = []string{}, a.plugins.waiting()
	for _, p := range st.Plugins {
		if p.Refusal == registry.BeyondCeiling {
			st.CeilingRefusals = append(st.CeilingRefusals, p.Reason)
		}
	}
	return st
}

const (
	reportEvery = 15 * time.Second       // or when the server asks to be told again
	reportPause = 300 * time.Millisecond // so that a row of changes makes one report
)

// report tells the server how things are: now and then, and soon after something changed.
func (a *Agent) report(ctx context.Context) {
	changes := a.events.Subscribe("report", 0)
	defer changes.Close()
	wait := patience{base: time.Second, most: time.Minute}
	for {
		callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
		var reply struct {
			Again float64 `json:"again_seconds"`
		}
		err := a.server.call(callCtx, http.MethodPost, "/api/v1/agent/status", nil, a.Status(), &reply)
		cancel()
		pause := jittered(min(max(reportEvery, time.Duration(reply.Again*float64(time.Second))), mostAgain))
		if err != nil {
			pause = wait.after(err)
			a.log.Debug("cannot report", "problem", reach(err))
		} else {
			wait.reset()
			a.proved()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-changes.C():
			if err == nil {
				sleep(ctx, reportPause)
			} else {
				sleep(ctx, pause) // a server that refuses is not asked more often
			}
		case <-a.soon:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
		for range len(changes.C()) {
			<-changes.C()
		}
	}
}

// reportSoon asks for a report without waiting for its time.
func (a *Agent) reportSoon() {
	select {
	case a.soon <- struct{}{}:
	default:
	}
}
