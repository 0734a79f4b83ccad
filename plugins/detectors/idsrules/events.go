package idsrules

// event is something wrong with a packet that decode-event, or a keyword for a checksum, asks for.
type event uint8

const (
	eventEthernetTooSmall event = iota
	eventSLLTooSmall
	eventRawVersion
	eventNullTooSmall
	eventNullType
	eventVLANTooSmall
	eventVLANLayers
	eventVLANType
	eventMPLSTooSmall
	eventMPLSRouterAlert
	eventMPLSImplicitNull
	eventMPLSReserved
	eventMPLSPayloadTooSmall
	eventMPLSPayload
	eventPPPoETooSmall
	eventPPPoECode
	eventPPPTooSmall
	eventPPPIPv4TooSmall
	eventPPPIPv6TooSmall
	eventPPPProtocol
	eventIPv4TooSmall
	eventIPv4Version
	eventIPv4HeaderTooSmall
	eventIPv4Length
	eventIPv4Truncated
	eventIPv4OptionLength
	eventIPv4OptionTwice
	eventIPv4OptionUnknown
	eventIPv4WithICMPv6
	eventIPv6TooSmall
	eventIPv6Version
	eventIPv6Truncated
	eventIPv6TruncatedExtension
	eventIPv6TwoHopOptions
	eventIPv6TwoRouting
	eventIPv6TwoFragment
	eventIPv6TwoDestination
	eventIPv6TwoAH
	eventIPv6DataAfterNone
	eventIPv6RoutingZero
	eventIPv6FragmentReserved
	eventIPv6FragmentUseless
	eventIPv6AHReserved
	eventIPv6DestinationUnknown
	eventIPv6DestinationPadding
	eventIPv6HopUnknown
	eventIPv6HopPadding
	eventIPv6OptionLength
	eventIPv6ZeroPadding
	eventIPv6WithICMPv4
	eventIPv6NextHeader
	eventIPv6Inner4TooSmall
	eventIPv6Inner4Version
	eventIPv6Inner6TooSmall
	eventIPv6Inner6Version
	eventTCPTooSmall
	eventTCPHeaderTooSmall
	eventTCPOptionLength
	eventTCPOptionInvalid
	eventTCPOptionTwice
	eventUDPHeaderTooSmall
	eventUDPTooSmall
	eventUDPLength
	eventICMPTooSmall
	eventICMPType
	eventICMPCode
	eventICMPInnerTruncated
	eventICMPInnerVersion
	eventICMPv6TooSmall
	eventICMPv6Code
	eventICMPv6InnerTruncated
	eventICMPv6InnerVersion
	eventICMPv6Unassigned
	eventICMPv6Experiment
	eventICMPv6Type
	eventICMPv6MLDHops
	eventIGMPTooSmall
	eventSCTPTooSmall
	eventSCTPChunkTooSmall
	eventSCTPChunkLength
	eventSCTPInitBundled
	eventSCTPInitTag
	eventSCTPDataTag
	eventGRETooSmall
	eventGREVersion
	eventGRE0Recursion
	eventGRE0Flags
	eventGRE0Header
	eventGRE1Checksum
	eventGRE1Route
	eventGRE1Source
	eventGRE1Recursion
	eventGRE1Flags
	eventGRE1Protocol
	eventGRE1NoKey
	eventGRE1Header
	eventIPv4Checksum
	eventTCPv4Checksum
	eventUDPv4Checksum
	eventICMPv4Checksum
	eventTCPv6Checksum
	eventUDPv6Checksum
	eventICMPv6Checksum
	eventIGMPChecksum
	eventCount
)

// events is a set of them.
type events [(eventCount + 63) / 64]uint64

func (e *events) add(one event)      { e[one/64] |= 1 << (one % 64) }
func (e *events) has(one event) bool { return e[one/64]>>(one%64)&1 != 0 }

func (e *events) none() bool {
	for _, word := range e {
		if word != 0 {
			return false
		}
	}
	return true
}

// decodeEvents are the names that decode-event knows.
var decodeEvents = map[string]event{
	"ethernet.pkt_too_small":             eventEthernetTooSmall,
	"sll.pkt_too_small":                  eventSLLTooSmall,
	"ipraw.invalid_ip_version":           eventRawVersion,
	"ltnull.pkt_too_small":               eventNullTooSmall,
	"ltnull.unsupported_type":            eventNullType,
	"vlan.header_too_small":              eventVLANTooSmall,
	"vlan.too_many_layers":               eventVLANLayers,
	"vlan.unknown_type":                  eventVLANType,
	"mpls.header_too_small":              eventMPLSTooSmall,
	"mpls.bad_label_router_alert":        eventMPLSRouterAlert,
	"mpls.bad_label_implicit_null":       eventMPLSImplicitNull,
	"mpls.bad_label_reserved":            eventMPLSReserved,
	"mpls.pkt_too_small":                 eventMPLSPayloadTooSmall,
	"mpls.unknown_payload_type":          eventMPLSPayload,
	"pppoe.pkt_too_small":                eventPPPoETooSmall,
	"pppoe.wrong_code":                   eventPPPoECode,
	"ppp.pkt_too_small":                  eventPPPTooSmall,
	"ppp.ip4_pkt_too_small":              eventPPPIPv4TooSmall,
	"ppp.ip6_pkt_too_small":              eventPPPIPv6TooSmall,
	"ppp.unsup_proto":                    eventPPPProtocol,
	"ipv4.pkt_too_small":                 eventIPv4TooSmall,
	"ipv4.wrong_ip_version":              eventIPv4Version,
	"ipv4.hlen_too_small":                eventIPv4HeaderTooSmall,
	"ipv4.iplen_smaller_than_hlen":       eventIPv4Length,
	"ipv4.trunc_pkt":                     eventIPv4Truncated,
	"ipv4.opt_invalid_len":               eventIPv4OptionLength,
	"ipv4.opt_duplicate":                 eventIPv4OptionTwice,
	"ipv4.opt_unknown":                   eventIPv4OptionUnknown,
	"ipv4.icmpv6":                        eventIPv4WithICMPv6,
	"ipv6.pkt_too_small":                 eventIPv6TooSmall,
	"ipv6.wrong_ip_version":              eventIPv6Version,
	"ipv6.trunc_pkt":                     eventIPv6Truncated,
	"ipv6.trunc_exthdr":                  eventIPv6TruncatedExtension,
	"ipv6.exthdr_dupl_hh":                eventIPv6TwoHopOptions,
	"ipv6.exthdr_dupl_rh":                eventIPv6TwoRouting,
	"ipv6.exthdr_dupl_fh":                eventIPv6TwoFragment,
	"ipv6.exthdr_dupl_dh":                eventIPv6TwoDestination,
	"ipv6.exthdr_dupl_ah":                eventIPv6TwoAH,
	"ipv6.data_after_none_header":        eventIPv6DataAfterNone,
	"ipv6.rh_type_0":                     eventIPv6RoutingZero,
	"ipv6.fh_non_zero_reserved_field":    eventIPv6FragmentReserved,
	"ipv6.exthdr_useless_fh":             eventIPv6FragmentUseless,
	"ipv6.exthdr_ah_res_not_null":        eventIPv6AHReserved,
	"ipv6.dstopts_unknown_opt":           eventIPv6DestinationUnknown,
	"ipv6.dstopts_only_padding":          eventIPv6DestinationPadding,
	"ipv6.hopopts_unknown_opt":           eventIPv6HopUnknown,
	"ipv6.hopopts_only_padding":          eventIPv6HopPadding,
	"ipv6.exthdr_invalid_optlen":         eventIPv6OptionLength,
	"ipv6.zero_len_padn":                 eventIPv6ZeroPadding,
	"ipv6.icmpv4":                        eventIPv6WithICMPv4,
	"ipv6.unknown_next_header":           eventIPv6NextHeader,
	"ipv6.ipv4_in_ipv6_too_small":        eventIPv6Inner4TooSmall,
	"ipv6.ipv4_in_ipv6_wrong_version":    eventIPv6Inner4Version,
	"ipv6.ipv6_in_ipv6_too_small":        eventIPv6Inner6TooSmall,
	"ipv6.ipv6_in_ipv6_wrong_version":    eventIPv6Inner6Version,
	"tcp.pkt_too_small":                  eventTCPTooSmall,
	"tcp.hlen_too_small":                 eventTCPHeaderTooSmall,
	"tcp.invalid_optlen":                 eventTCPOptionLength,
	"tcp.opt_invalid_len":                eventTCPOptionInvalid,
	"tcp.opt_duplicate":                  eventTCPOptionTwice,
	"udp.hlen_too_small":                 eventUDPHeaderTooSmall,
	"udp.pkt_too_small":                  eventUDPTooSmall,
	"udp.len_invalid":                    eventUDPLength,
	"icmpv4.pkt_too_small":               eventICMPTooSmall,
	"icmpv4.unknown_type":                eventICMPType,
	"icmpv4.unknown_code":                eventICMPCode,
	"icmpv4.ipv4_trunc_pkt":              eventICMPInnerTruncated,
	"icmpv4.ipv4_unknown_ver":            eventICMPInnerVersion,
	"icmpv6.pkt_too_small":               eventICMPv6TooSmall,
	"icmpv6.unknown_code":                eventICMPv6Code,
	"icmpv6.ipv6_trunc_pkt":              eventICMPv6InnerTruncated,
	"icmpv6.ipv6_unknown_version":        eventICMPv6InnerVersion,
	"icmpv6.unassigned_type":             eventICMPv6Unassigned,
	"icmpv6.experimentation_type":        eventICMPv6Experiment,
	"icmpv6.unknown_type":                eventICMPv6Type,
	"icmpv6.mld_message_with_invalid_hl": eventICMPv6MLDHops,
	"igmp.pkt_too_small":                 eventIGMPTooSmall,
	"sctp.pkt_too_small":                 eventSCTPTooSmall,
	"sctp.chunk_too_small":               eventSCTPChunkTooSmall,
	"sctp.chunk_len_invalid":             eventSCTPChunkLength,
	"sctp.init_chunk_bundled":            eventSCTPInitBundled,
	"sctp.init_with_non_zero_vtag":       eventSCTPInitTag,
	"sctp.data_with_zero_vtag":           eventSCTPDataTag,
	"gre.pkt_too_small":                  eventGRETooSmall,
	"gre.wrong_version":                  eventGREVersion,
	"gre.version0_recur":                 eventGRE0Recursion,
	"gre.version0_flags":                 eventGRE0Flags,
	"gre.version0_hdr_too_big":           eventGRE0Header,
	"gre.version1_chksum":                eventGRE1Checksum,
	"gre.version1_route":                 eventGRE1Route,
	"gre.version1_ssr":                   eventGRE1Source,
	"gre.version1_recur":                 eventGRE1Recursion,
	"gre.version1_flags":                 eventGRE1Flags,
	"gre.version1_wrong_protocol":        eventGRE1Protocol,
	"gre.version1_no_key":                eventGRE1NoKey,
	"gre.version1_hdr_too_big":           eventGRE1Header,
}

// checksumEvents are the keywords that ask for a wrong checksum.
var checksumEvents = map[string]event{
	"ipv4-csum":   eventIPv4Checksum,
	"tcpv4-csum":  eventTCPv4Checksum,
	"udpv4-csum":  eventUDPv4Checksum,
	"icmpv4-csum": eventICMPv4Checksum,
	"tcpv6-csum":  eventTCPv6Checksum,
	"udpv6-csum":  eventUDPv6Checksum,
	"icmpv6-csum": eventICMPv6Checksum,
	"igmp-csum":   eventIGMPChecksum,
}
