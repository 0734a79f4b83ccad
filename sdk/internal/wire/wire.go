// Package wire turns the sdk's nouns into the messages of the control plane and back, and holds what both ends of a
// process connection must agree on: handshake, limits, and how an error keeps its class.
package wire

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Nanos is a time on the wire; nil for one that is not set. Beyond the years 1678 to 2262 it is the nearest inside.
func Nanos(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ns := t.UnixNano()
	switch sec := t.Unix(); {
	case sec >= math.MaxInt64/int64(time.Second):
		ns = math.MaxInt64
	case sec <= math.MinInt64/int64(time.Second):
		ns = math.MinInt64
	}
	return &ns
}

// Time is the reverse of Nanos, in UTC.
func Time(ns *int64) time.Time {
	if ns == nil {
		return time.Time{}
	}
	return time.Unix(0, *ns).UTC()
}

// FromError makes the status of a failed call. Its details carry the class.
func FromError(err error) error {
	if err == nil {
		return nil
	}
	e := ErrorToPB(err)
	st := status.New(code(err, sdk.Class(e.Class)), e.Message)
	if detailed, derr := st.WithDetails(e); derr == nil {
		st = detailed
	}
	return st.Err()
}

// code is for peers that know gRPC but not our details, and marks what only ended with its context.
func code(err error, c sdk.Class) codes.Code {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	switch c {
	case sdk.InvalidConfig:
		return codes.InvalidArgument
	case sdk.Temporary, sdk.Downstream:
		return codes.Unavailable
	case sdk.Unsupported:
		return codes.Unimplemented
	case sdk.PermissionDenied:
		return codes.PermissionDenied
	}
	return codes.Internal
}

// ToError is the reverse of FromError. A failure of the transport itself is Temporary when the process is gone and
// Internal when it broke the rules (a message over the limit, for example).
func ToError(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range st.Details() {
		if e, ok := d.(*pb.Error); ok {
			return ErrorFromPB(e)
		}
	}
	class := sdk.Internal
	switch st.Code() {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		class = sdk.Temporary
	case codes.Unimplemented:
		class = sdk.Unsupported
	}
	return &sdk.Error{Class: class, Message: "plugin call failed: " + st.Message()}
}

// Ended reports whether a call failed because its context ended.
func Ended(err error) bool {
	c := status.Code(err)
	return c == codes.DeadlineExceeded || c == codes.Canceled
}

// ErrorToPB describes an error, nil for nil.
func ErrorToPB(err error) *pb.Error {
	e := abi.ErrorOf(err)
	if e == nil {
		return nil
	}
	return &pb.Error{Class: string(e.Class), Message: clean(e.Message), RetryAfterNanos: int64(e.RetryAfter)}
}

// ErrorFromPB is the reverse of ErrorToPB.
func ErrorFromPB(e *pb.Error) error {
	if e == nil {
		return nil
	}
	return (&abi.Error{Class: sdk.Class(e.Class), Message: e.Message, RetryAfter: time.Duration(e.RetryAfterNanos)}).Err()
}

func RuleToPB(r sdk.Rule) *pb.Rule {
	return &pb.Rule{Id: r.ID, Purpose: r.Purpose, Techniques: r.Techniques, Severity: string(r.Severity), FalsePositives: r.FalsePositives}
}

func RuleFromPB(r *pb.Rule) sdk.Rule {
	return sdk.Rule{ID: r.GetId(), Purpose: r.GetPurpose(), Techniques: r.GetTechniques(), Severity: sdk.Severity(r.GetSeverity()),
		FalsePositives: r.GetFalsePositives()}
}

func SubscriptionToPB(s sdk.Subscription) *pb.Subscription {
	out := &pb.Subscription{Flows: s.Flows, Features: s.Features, Facts: s.Facts, Without: s.Without}
	if s.Packets != nil {
		out.Packets = &pb.PacketSubscription{Layers: s.Packets.Layers, SnapLen: uint32(max(s.Packets.SnapLen, 0))}
	}
	return out
}

func SubscriptionFromPB(s *pb.Subscription) sdk.Subscription {
	out := sdk.Subscription{Flows: s.GetFlows(), Features: s.GetFeatures(), Facts: s.GetFacts(), Without: s.GetWithout()}
	if p := s.GetPackets(); p != nil {
		out.Packets = &sdk.PacketSubscription{Layers: p.GetLayers(), SnapLen: int(min(p.GetSnapLen(), maxSnapLen))}
	}
	return out
}

// maxSnapLen is more than any packet has.
const maxSnapLen = 256 << 10

func DescriptionToPB(d abi.Description) *pb.Description {
	return &pb.Description{Id: d.ID, Kind: string(d.Kind), Summary: d.Summary, Rules: each(d.Rules, RuleToPB),
		Subscription: SubscriptionToPB(d.Subscription), ConfigSchema: d.ConfigSchema,
		Watches: d.Watches, Undoes: d.Undoes, ReportsStatus: d.ReportsStatus, Snapshots: d.Snapshots,
		Observes: d.Observes, Passive: d.Passive}
}

func DescriptionFromPB(d *pb.Description) abi.Description {
	return abi.Description{ID: d.GetId(), Kind: sdk.Kind(d.GetKind()), Summary: d.GetSummary(), Rules: each(d.GetRules(), RuleFromPB),
		Subscription: SubscriptionFromPB(d.GetSubscription()), ConfigSchema: d.GetConfigSchema(),
		Watches: d.GetWatches(), Undoes: d.GetUndoes(), ReportsStatus: d.GetReportsStatus(), Snapshots: d.GetSnapshots(),
		Observes: d.GetObserves(), Passive: d.GetPassive()}
}

func PermissionToPB(p sdk.Permission) *pb.Permission {
	out := &pb.Permission{Cap: p.Cap, Reason: p.Reason, Optional: p.Optional}
	if p.Args != nil {
		out.Args = map[string]*pb.PermissionValues{}
	}
	for name, values := range p.Args {
		out.Args[name] = &pb.PermissionValues{Values: values}
	}
	return out
}

// PermissionFromPB keeps an argument without values: it allows nothing, while a missing one allows all.
func PermissionFromPB(p *pb.Permission) sdk.Permission {
	out := sdk.Permission{Cap: p.GetCap(), Reason: p.GetReason(), Optional: p.GetOptional()}
	if len(p.GetArgs()) > 0 {
		out.Args = map[string][]string{}
	}
	for name, values := range p.GetArgs() {
		out.Args[name] = append([]string{}, values.GetValues()...)
	}
	return out
}

func InstanceConfigToPB(c abi.InstanceConfig) *pb.ConfigureRequest {
	return &pb.ConfigureRequest{Instance: c.Instance, Plugin: c.Plugin, Config: c.Config, Secrets: c.Secrets,
		Grants: each(c.Grants, PermissionToPB), StateDir: c.StateDir,
		DenyDial: c.DenyDial, Channel: c.Channel, Generation: c.Generation, DeadlineNanos: int64(c.Deadline),
		ProcessMemory: c.ProcessMemory, ProcessCores: uint32(min(max(c.ProcessCores, 0), 1<<16))}
}

func InstanceConfigFromPB(c *pb.ConfigureRequest) abi.InstanceConfig {
	return abi.InstanceConfig{Instance: c.GetInstance(), Plugin: c.GetPlugin(), Config: c.GetConfig(), Secrets: c.GetSecrets(),
		Grants: each(c.GetGrants(), PermissionFromPB), StateDir: c.GetStateDir(),
		DenyDial: c.GetDenyDial(), Channel: c.GetChannel(), Generation: c.GetGeneration(), Deadline: time.Duration(c.GetDeadlineNanos()),
		ProcessMemory: c.GetProcessMemory(), ProcessCores: int(c.GetProcessCores())}
}

func CollectRequestToPB(instance string, r sdk.CollectRequest) *pb.CollectRequest {
	return &pb.CollectRequest{Instance: instance, TimeUnixNanos: Nanos(r.Time), IntervalNanos: int64(r.Interval)}
}

func CollectRequestFromPB(r *pb.CollectRequest) sdk.CollectRequest {
	return sdk.CollectRequest{Time: Time(r.TimeUnixNanos), Interval: time.Duration(r.GetIntervalNanos())}
}

func ScopeToPB(instance string, s sdk.Scope) *pb.DiscoverRequest {
	return &pb.DiscoverRequest{Instance: instance, Prefixes: each(s.Prefixes, netip.Prefix.String)}
}

func ScopeFromPB(r *pb.DiscoverRequest) (sdk.Scope, error) {
	var s sdk.Scope
	for _, text := range r.GetPrefixes() {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Scope{}, sdk.Errorf(sdk.InvalidConfig, "scope: %w", err)
		}
		s.Prefixes = append(s.Prefixes, p)
	}
	return s, nil
}

func SampleToPB(s sdk.Sample) *pb.Sample {
	return &pb.Sample{Metric: clean(s.Metric), Unit: clean(s.Unit), Type: clean(string(s.Type)), Labels: s.Labels,
		TimeUnixNanos: Nanos(s.Time), Value: s.Value}
}

func SampleFromPB(s *pb.Sample) sdk.Sample {
	return sdk.Sample{Metric: s.GetMetric(), Unit: s.GetUnit(), Type: sdk.MetricType(s.GetType()), Labels: s.GetLabels(),
		Time: Time(s.TimeUnixNanos), Value: s.GetValue()}
}

func SightingToPB(s sdk.Sighting) *pb.Sighting {
	out := &pb.Sighting{TimeUnixNanos: Nanos(s.Time), Mac: clean(s.MAC), Hostname: clean(s.Hostname), Facts: s.Facts, Confidence: s.Confidence,
		Source: clean(s.Source), Capture: clean(s.Capture), Packet: s.Packet, Ports: each(s.Ports, PortToPB), Links: each(s.Links, LinkToPB)}
	if s.IP.IsValid() {
		out.Ip = s.IP.String()
	}
	return out
}

func SightingFromPB(s *pb.Sighting) (sdk.Sighting, error) {
	out := sdk.Sighting{Time: Time(s.TimeUnixNanos), MAC: s.GetMac(), Hostname: s.GetHostname(), Facts: s.GetFacts(), Confidence: s.GetConfidence(),
		Source: s.GetSource(), Capture: s.GetCapture(), Packet: s.GetPacket()}
	var err error
	if out.IP, err = address(s.GetIp()); err != nil {
		return sdk.Sighting{}, err
	}
	for _, p := range s.GetPorts() {
		port, err := PortFromPB(p)
		if err != nil {
			return sdk.Sighting{}, err
		}
		out.Ports = append(out.Ports, port)
	}
	for _, l := range s.GetLinks() {
		link, err := LinkFromPB(l)
		if err != nil {
			return sdk.Sighting{}, err
		}
		out.Links = append(out.Links, link)
	}
	return out, nil
}

// address reads an address of a sighting; an empty text is none.
func address(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, errors.New("sighting with an address that does not parse")
	}
	return ip, nil
}

func PortToPB(p sdk.Port) *pb.Port {
	return &pb.Port{Index: p.Index, Name: clean(p.Name), Description: clean(p.Description), Alias: clean(p.Alias), Type: clean(p.Type), Mac: clean(p.MAC),
		Speed: p.Speed, State: clean(p.State), Addresses: each(p.Addresses, netip.Prefix.String)}
}

func PortFromPB(p *pb.Port) (sdk.Port, error) {
	out := sdk.Port{Index: p.GetIndex(), Name: p.GetName(), Description: p.GetDescription(), Alias: p.GetAlias(), Type: p.GetType(), MAC: p.GetMac(),
		Speed: p.GetSpeed(), State: p.GetState()}
	for _, text := range p.GetAddresses() {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Port{}, errors.New("sighting with a port whose address does not parse")
		}
		out.Addresses = append(out.Addresses, prefix)
	}
	return out, nil
}

func LinkToPB(l sdk.Link) *pb.Link {
	out := &pb.Link{Port: clean(l.Port), Protocol: clean(l.Protocol), Mac: clean(l.MAC), Name: clean(l.Name), RemotePort: clean(l.RemotePort), Description: clean(l.Description), RemoteMac: clean(l.RemoteMAC)}
	if l.IP.IsValid() {
		out.Ip = l.IP.String()
	}
	return out
}

func LinkFromPB(l *pb.Link) (sdk.Link, error) {
	ip, err := address(l.GetIp())
	return sdk.Link{Port: l.GetPort(), Protocol: l.GetProtocol(), MAC: l.GetMac(), IP: ip, Name: l.GetName(), RemotePort: l.GetRemotePort(), Description: l.GetDescription(), RemoteMAC: l.GetRemoteMac()}, err
}

func FindingToPB(f sdk.Finding) *pb.Finding {
	return &pb.Finding{Id: clean(f.ID), Detector: clean(f.Detector), Rule: clean(f.Rule), Severity: clean(string(f.Severity)),
		Risk: int64(f.Risk), Confidence: f.Confidence, Techniques: f.Techniques, Src: clean(f.Src), Dst: clean(f.Dst),
		StartUnixNanos: Nanos(f.Start), EndUnixNanos: Nanos(f.End), Packets: f.Packets, Flows: each(f.Flows, FlowRefToPB),
		Features: f.Features, Summary: clean(f.Summary)}
}

func FindingFromPB(f *pb.Finding) sdk.Finding {
	return sdk.Finding{ID: f.GetId(), Detector: f.GetDetector(), Rule: f.GetRule(), Severity: sdk.Severity(f.GetSeverity()),
		Risk: risk(f.GetRisk()), Confidence: f.GetConfidence(), Techniques: f.GetTechniques(), Src: f.GetSrc(), Dst: f.GetDst(),
		Start: Time(f.StartUnixNanos), End: Time(f.EndUnixNanos), Packets: f.GetPackets(), Flows: each(f.GetFlows(), FlowRefFromPB),
		Features: f.GetFeatures(), Summary: f.GetSummary()}
}

// risk keeps a number that an int of 32 bits could not hold from wrapping into the valid range.
func risk(v int64) int { return int(max(min(v, math.MaxInt32), math.MinInt32)) }

func FlowRefToPB(r sdk.FlowRef) *pb.FlowRef {
	return &pb.FlowRef{Id: r.ID, CommunityId: clean(r.CommunityID), Proto: clean(r.Proto), Src: clean(r.Src), Dst: clean(r.Dst)}
}

func FlowRefFromPB(r *pb.FlowRef) sdk.FlowRef {
	return sdk.FlowRef{ID: r.GetId(), CommunityID: r.GetCommunityId(), Proto: r.GetProto(), Src: r.GetSrc(), Dst: r.GetDst()}
}

func NoticeToPB(n sdk.Notice) *pb.Notice {
	out := &pb.Notice{Id: clean(n.ID), TimeUnixNanos: Nanos(n.Time), Event: clean(n.Event), Severity: clean(string(n.Severity)),
		Title: clean(n.Title), Text: clean(n.Text), Url: clean(n.URL), AlertId: clean(n.AlertID),
		Samples: each(n.Samples, SampleToPB)}
	if n.Alert != nil {
		out.Alert = FindingToPB(*n.Alert)
	}
	return out
}

func NoticeFromPB(n *pb.Notice) sdk.Notice {
	out := sdk.Notice{ID: n.GetId(), Time: Time(n.TimeUnixNanos), Event: n.GetEvent(), Severity: sdk.Severity(n.GetSeverity()),
		Title: n.GetTitle(), Text: n.GetText(), URL: n.GetUrl(), AlertID: n.GetAlertId(), Samples: each(n.GetSamples(), SampleFromPB)}
	if n.GetAlert() != nil {
		f := FindingFromPB(n.GetAlert())
		out.Alert = &f
	}
	return out
}

func ReceiptToPB(r sdk.Receipt) *pb.Receipt {
	return &pb.Receipt{ForeignId: clean(r.ForeignID), Url: clean(r.URL), Undoable: r.Undoable}
}

func ReceiptFromPB(r *pb.Receipt) sdk.Receipt {
	return sdk.Receipt{ForeignID: r.GetForeignId(), URL: r.GetUrl(), Undoable: r.GetUndoable()}
}

func StatusToPB(s sdk.DeliveryStatus) *pb.StatusResponse {
	return &pb.StatusResponse{State: clean(string(s.State)), Text: clean(s.Text), TimeUnixNanos: Nanos(s.Time)}
}

func StatusFromPB(s *pb.StatusResponse) sdk.DeliveryStatus {
	return sdk.DeliveryStatus{State: sdk.DeliveryState(s.GetState()), Text: s.GetText(), Time: Time(s.TimeUnixNanos)}
}

// each converts a list; nil stays nil.
func each[A, B any](list []A, convert func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, len(list))
	for i, v := range list {
		out[i] = convert(v)
	}
	return out
}
