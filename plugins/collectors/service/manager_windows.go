package service

import (
	"context"
	"slices"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

type manager struct{}

func newManager() manager { return manager{} }

func (*manager) close() {}

// Collect asks the service manager once and hands over the state of each service that starts by itself, and of those watched.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	handle, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return sdk.Errorf(sdk.Temporary, "open the service manager: %w", err)
	}
	m := &mgr.Mgr{Handle: handle}
	defer func() { _ = m.Disconnect() }()
	names, err := m.ListServices()
	if err != nil {
		return sdk.Errorf(sdk.Temporary, "list services: %w", err)
	}
	slices.Sort(names)
	out := emitter{sink: sink, now: c.host.Now()}
	told := 0
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		watched := slices.Contains(c.config.Watched, name)
		if !watched && !c.config.wants(name) {
			continue
		}
		state, startup, ok := query(m, name)
		if !ok || !watched && startup != "auto_start" {
			continue
		}
		if told++; told > maxUnits {
			return sdk.Errorf(sdk.Unsupported, "there are more than %d services: choose with include and exclude", maxUnits)
		}
		out.emit(sdk.Gauge, "windows.service.status", "{status}", float64(state), map[string]string{"name": name, "startup_mode": startup})
	}
	return out.err
}

var startups = map[uint32]string{
	windows.SERVICE_BOOT_START: "boot_start", windows.SERVICE_SYSTEM_START: "system_start", windows.SERVICE_AUTO_START: "auto_start",
	windows.SERVICE_DEMAND_START: "demand_start", windows.SERVICE_DISABLED: "disabled",
}

// query asks with no right but to look.
func query(m *mgr.Mgr, name string) (state uint32, startup string, ok bool) {
	wide, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, "", false
	}
	handle, err := windows.OpenService(m.Handle, wide, windows.SERVICE_QUERY_STATUS|windows.SERVICE_QUERY_CONFIG)
	if err != nil {
		return 0, "", false
	}
	defer func() { _ = windows.CloseServiceHandle(handle) }()
	var now windows.SERVICE_STATUS_PROCESS
	var needed uint32
	err = windows.QueryServiceStatusEx(handle, windows.SC_STATUS_PROCESS_INFO, (*byte)(unsafe.Pointer(&now)), uint32(unsafe.Sizeof(now)), &needed)
	if err != nil {
		return 0, "", false
	}
	config, err := (&mgr.Service{Name: name, Handle: handle}).Config()
	if err != nil {
		return 0, "", false
	}
	return now.CurrentState, startups[config.StartType], true
}
