package ransomware

import (
	"fmt"

	"github.com/picketwatch/picket/sdk"
)

// finding puts what a client does into words, with its evidence.
func (k *client) finding(v *verdict) sdk.Finding {
	from, to := k.key.client.Addr(), k.key.server.Addr()
	out := sdk.Finding{
		Detector: "picket/ransomware", Rule: rules[v.rule-1], Techniques: []string{"T1486"}, Src: from.String(), Dst: to.String(),
		Features: map[string]float64{
			"converted": float64(k.converted), "overwritten": float64(k.overwritten), "written": float64(k.written), "kinds": float64(max(len(k.lost), len(k.kinds))),
			"folders": float64(len(k.folders)), "extensions": float64(len(k.gains)), "canaries": float64(k.canaries),
		},
	}
	k.Into(&out, v.confidence)
	switch v.rule {
	case 1:
		out.Summary = fmt.Sprintf("%s made %s of %s on %s into .%s within %s", from, count(k.converted, "file"), count(uint64(len(k.lost)), "kind"), to, k.most().extension, k.Lasted())
		if v.known {
			out.Summary += ", as ransomware is known to do"
		}
	case 2:
		out.Summary = fmt.Sprintf("%s read and overwrote %s of %s on %s within %s", from, count(k.overwritten, "file"), count(uint64(len(k.kinds)), "kind"), to, k.Lasted())
	default:
		out.Summary = fmt.Sprintf("%s opened %q on %s to change it, which nobody should touch", from, k.canary, to)
	}
	if n := k.ransom(); n != nil {
		out.Summary += fmt.Sprintf("; it left %q in %s", n.text, count(uint64(len(n.folders)), "folder"))
		out.Features["notes"] = float64(len(n.folders))
	}
	out.Flows = k.Refs(from, to, sdk.ProtoTCP)
	return out
}

func count(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
