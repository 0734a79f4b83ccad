package opcua

import "github.com/picketwatch/picket/internal/traffic/app/ot"

type kind struct {
	name   string
	action ot.Action
}

// services by the number of the binary encoding of their request; that of the answer is 3 more.
var services = withAnswers(map[uint32]kind{
	422: {"find servers", ot.Discover}, 428: {"get endpoints", ot.Discover}, 437: {"register server", ot.Connect}, 446: {"open secure channel", ot.Connect},
	452: {"close secure channel", ot.Connect}, 461: {"create session", ot.Connect}, 467: {"activate session", ot.Connect}, 473: {"close session", ot.Connect}, 479: {"cancel", ot.Other},
	488: {"add nodes", ot.Program}, 494: {"add references", ot.Program}, 500: {"delete nodes", ot.Program}, 506: {"delete references", ot.Program},
	527: {"browse", ot.Discover}, 533: {"browse next", ot.Discover}, 554: {"translate browse paths", ot.Discover}, 560: {"register nodes", ot.Other}, 566: {"unregister nodes", ot.Other},
	631: {"read", ot.Read}, 664: {"history read", ot.Read}, 673: {"write", ot.Write}, 700: {"history update", ot.Write}, 712: {"call", ot.Operate},
	751: {"create monitored items", ot.Read}, 763: {"modify monitored items", ot.Read}, 769: {"set monitoring mode", ot.Read}, 781: {"delete monitored items", ot.Read},
	787: {"create subscription", ot.Read}, 793: {"modify subscription", ot.Read}, 799: {"set publishing mode", ot.Read}, 826: {"publish", ot.Read}, 832: {"republish", ot.Read},
	847: {"delete subscriptions", ot.Read},
})

func withAnswers(m map[uint32]kind) map[uint32]kind {
	const after, fault = 3, 397
	out := map[uint32]kind{fault: {"fault", ot.Other}}
	for number, k := range m {
		out[number], out[number+after] = k, k
	}
	return out
}
