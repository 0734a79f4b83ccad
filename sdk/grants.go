package sdk

import (
	"path"
	"strings"
)

// AllowsUnix reports whether p allows connecting to the Unix socket at the path, or to any below a folder it names.
func (p Permission) AllowsUnix(name string) bool {
	if p.Cap != CapUnixConnect || !path.IsAbs(name) {
		return false
	}
	paths, restricted := p.Args["path"]
	if !restricted {
		return true
	}
	name = path.Clean(name)
	for _, root := range paths {
		if below(name, root) {
			return true
		}
	}
	return false
}

// AllowsListen reports whether p allows listening on the port. Port 0, which lets the system choose, is allowed only
// where no ports are named.
func (p Permission) AllowsListen(network string, port int) bool {
	return p.Cap == CapNetListen && port >= 0 && port <= 65535 &&
		p.allows("proto", strings.TrimRight(network, "46")) && p.allowsPort(port)
}

// Unix answers with an error of class PermissionDenied unless one grant allows connecting to the Unix socket.
func (g Grants) Unix(name string) error {
	if g.any(func(p Permission) bool { return p.AllowsUnix(name) }) {
		return nil
	}
	return Errorf(PermissionDenied, "no grant of %s allows %s", CapUnixConnect, name)
}

// Listen answers with an error of class PermissionDenied unless one grant allows listening on the port.
func (g Grants) Listen(network string, port int) error {
	if g.any(func(p Permission) bool { return p.AllowsListen(network, port) }) {
		return nil
	}
	return Errorf(PermissionDenied, "no grant of %s allows %s port %d", CapNetListen, network, port)
}
