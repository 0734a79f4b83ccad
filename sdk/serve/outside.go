//go:build !wasip1

package serve

import (
	"log/slog"
	"os"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/prochost"
)

// NewHost returns the outside world of one instance of this process: over the broker that it inherited, else by itself
// under the grants. Main does this for its instances; a Backend that runs plugins of its own does it for them.
func NewHost(cfg abi.InstanceConfig, log *slog.Logger) sdk.Host { return prochost.New(cfg, log) }

// NewHostOver is NewHost over a broker that was not inherited: it takes over the process's end of its socket. stop ends
// the connection to the broker. It fails where there is no broker (other systems than Linux).
func NewHostOver(broker *os.File, cfg abi.InstanceConfig, log *slog.Logger) (host sdk.Host, stop func(), err error) {
	return prochost.Over(broker, cfg, log)
}
