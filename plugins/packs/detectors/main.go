// Command detectors serves the detectors of flows and facts in one process, and what learns of devices from the same facts. It is
// the process artifact of each of them; a detector is added with one import here and one line in its plugin.yaml.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/anomaly"
	_ "github.com/picketwatch/picket/plugins/detectors/beacon"
	_ "github.com/picketwatch/picket/plugins/detectors/botnet"
	_ "github.com/picketwatch/picket/plugins/detectors/bruteforce"
	_ "github.com/picketwatch/picket/plugins/detectors/dga"
	_ "github.com/picketwatch/picket/plugins/detectors/dnssecurity"
	_ "github.com/picketwatch/picket/plugins/detectors/encrypted"
	_ "github.com/picketwatch/picket/plugins/detectors/exfil"
	_ "github.com/picketwatch/picket/plugins/detectors/flood"
	_ "github.com/picketwatch/picket/plugins/detectors/lateral"
	_ "github.com/picketwatch/picket/plugins/detectors/ot"
	_ "github.com/picketwatch/picket/plugins/detectors/policy"
	_ "github.com/picketwatch/picket/plugins/detectors/portscan"
	_ "github.com/picketwatch/picket/plugins/detectors/ransomware"
	_ "github.com/picketwatch/picket/plugins/detectors/spoof"
	_ "github.com/picketwatch/picket/plugins/detectors/tls"
	_ "github.com/picketwatch/picket/plugins/detectors/tunnel"
	_ "github.com/picketwatch/picket/plugins/detectors/webattack"
	_ "github.com/picketwatch/picket/plugins/discovery/passive"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
