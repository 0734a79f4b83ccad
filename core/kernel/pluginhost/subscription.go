package pluginhost

import "github.com/picketwatch/picket/sdk"

// granted is the part of a subscription that the grants allow.
func granted(s sdk.Subscription, grants sdk.Grants) (sdk.Subscription, error) {
	out := sdk.Subscription{Flows: s.Flows && grants.Has(sdk.CapFlowsRead)}
	if s.Packets == nil {
		return out, nil
	}
	if err := s.Packets.Validate(); err != nil {
		return out, sdk.Errorf(sdk.Unsupported, "its subscription: %w", err)
	}
	if grants.Packets(*s.Packets) {
		out.Packets = s.Packets
	}
	return out, nil
}
