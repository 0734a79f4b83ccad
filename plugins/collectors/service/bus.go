//go:build !windows

package service

import (
	"context"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/picketwatch/picket/sdk"
)

const (
	socket = "/run/dbus/system_bus_socket"
	again  = 10 * time.Minute // until a bus is tried again that did not answer
)

// bus is the connection to systemd.
type bus struct {
	conn   *dbus.Conn
	tried  time.Time
	denied bool // a grant comes with a new start
}

// units are the services that systemd knows. asked is false where it cannot be asked.
func (b *bus) units(ctx context.Context, host sdk.Host, watched []string) (units []unit, asked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if b.conn == nil {
		if now := host.Now(); !b.denied && (b.tried.IsZero() || now.Sub(b.tried) >= again || now.Before(b.tried)) {
			b.tried = now
			b.connect(ctx, host)
		}
		if b.conn == nil {
			return nil, false, nil
		}
	}
	manager := b.conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	var answer []struct {
		Name, Description, Load, Active, Sub, Follows string
		Path                                          dbus.ObjectPath
		Job                                           uint32
		JobType                                       string
		JobPath                                       dbus.ObjectPath
	}
	err = manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.ListUnitsByPatterns", 0, []string{}, []string{"*.service"}).Store(&answer)
	if err != nil {
		b.close()
		b.tried = time.Time{} // it has answered before: the next collection asks anew
		return nil, false, sdk.Errorf(sdk.Temporary, "systemd does not answer: %w", err)
	}
	isWatched := map[string]bool{}
	for _, name := range watched {
		isWatched[name] = true
	}
	for _, a := range answer {
		if len(a.Name) > maxName || a.Load != "loaded" && !isWatched[a.Name] {
			continue
		}
		u := unit{name: strings.ToValidUTF8(a.Name, "?"), state: a.Active}
		if isWatched[a.Name] && a.Load == "loaded" {
			var restarts dbus.Variant
			err := b.conn.Object("org.freedesktop.systemd1", a.Path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
				"org.freedesktop.systemd1.Service", "NRestarts").Store(&restarts)
			if n, ok := restarts.Value().(uint32); err == nil && ok {
				u.restarts, u.counted = float64(n), true
			}
		}
		units = append(units, u)
	}
	return units, true, nil
}

// connect leaves no connection where there is no bus, or where the plugin may not reach it.
func (b *bus) connect(ctx context.Context, host sdk.Host) {
	raw, err := host.Dial(ctx, "unix", socket)
	if err != nil {
		b.denied = sdk.ClassOf(err) == sdk.PermissionDenied
		host.Log().Info("systemd is not asked, so what is told is which services run, not which have failed", "reason", err)
		return
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() }) // what follows knows no deadline
	defer stop()
	conn, err := dbus.NewConn(raw)
	if err == nil {
		// The bus takes the user from the socket, which is the host's: nothing is claimed.
		if err = conn.Auth([]dbus.Auth{dbus.AuthExternal("")}); err == nil {
			err = conn.Hello()
		}
	}
	if err != nil {
		raw.Close()
		host.Log().Warn("the bus of the system does not answer", "reason", err)
		return
	}
	b.conn = conn
}

func (b *bus) close() {
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}
