//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// fill puts agents into the store of a server that does not run, so that pages can be looked at with many of them: most were heard
// a moment ago, some are late or gone, a few have plugins that fail.
func fill(ctx context.Context, data string, agents int) (err error) {
	if data == "" {
		return errors.New("-fill needs -data, the folder of a server that was started once and does not run")
	}
	control, err := store.OpenControl(ctx, store.ControlConfig{Path: filepath.Join(data, "control.db"), KeyFile: filepath.Clean(data) + "-keys/secret.key"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, control.Close()) }()
	now := time.Now()
	token := []byte("filled " + now.String())
	if err := control.CreateEnrolmentToken(ctx, store.EnrolmentToken{ID: now.Format("filled-20060102150405.000000"), Tenant: store.DefaultTenant, Hash: token, CreatedBy: "load",
		Created: now, Expires: now.Add(time.Hour), MaxUses: agents}); err != nil {
		return err
	}
	systems := []string{"linux/amd64", "linux/amd64", "linux/arm64", "windows/amd64", "darwin/arm64"}
	for i := range agents {
		system := systems[i%len(systems)]
		a := store.Agent{ID: fmt.Sprintf("f%07d-%x", i, now.Unix()), Name: fmt.Sprintf("%s-%05d", []string{"web", "db", "edge", "desk"}[i%4], i), Version: fmt.Sprintf("0.%d.0", i%3+1),
			Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), PublicKey: make([]byte, 32), BearerHash: fmt.Append(nil, i), Enrolled: now, LastSeen: now,
			Labels: map[string]string{"site": []string{"berlin", "oslo", "rome"}[i%3], "rack": fmt.Sprint(i % 40)}}
		a.OS, a.Arch = filepath.Dir(system), filepath.Base(system)
		if _, err := control.EnrolAgent(ctx, token, a); err != nil {
			return err
		}
		if err := heard(ctx, control, a, i, now); err != nil {
			return err
		}
	}
	return control.FlushContacts(ctx)
}

func heard(ctx context.Context, control *store.Control, a store.Agent, i int, now time.Time) error {
	state, at := "ready", now
	switch i % 50 {
	case 7:
		at = now.Add(-time.Hour)
	case 8:
		at = now.Add(-2 * time.Minute)
	}
	if i%100 == 3 {
		state = "quarantined"
	}
	status, err := json.Marshal(map[string]any{"version": a.Version, "plugins": []map[string]any{{"instance": "host", "plugin": "picket/host", "state": state}, {"instance": "ping", "plugin": "picket/ping", "state": "ready"}}})
	if err != nil {
		return err
	}
	return control.SetAgentStatus(ctx, a.ID, a.Version, status, at)
}
