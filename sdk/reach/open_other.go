//go:build !linux && !wasip1

package reach

import (
	"context"
	"net"
	"os"
)

func openReal(name string) (*os.File, error) { return os.Open(name) }

func connectUnix(ctx context.Context, name string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", name)
}
