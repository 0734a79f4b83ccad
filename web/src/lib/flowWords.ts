// Flows in words: addresses with ports, flags, groups of features.
import { bytes, count, duration, number } from './format'

/** "10.0.0.1:443", "[2001:db8::1]:443"; without a port where there is none to speak of. */
export function hostPort(address: string, port: number, proto: string): string {
  if (proto.startsWith('icmp') || port === 0) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR']

/** 0x12 → "SYN ACK". */
export const flagWords = (flags: number): string => flagNames.filter((_, i) => flags & (1 << i)).join(' ')

/** Names of protocols as people write them; the others as they came, in capitals when they are short. */
const known: Record<string, string> = {
  http2: 'HTTP/2', http3: 'HTTP/3', grpc: 'gRPC', mdns: 'mDNS', quic: 'QUIC', mqtt: 'MQTT', modbus: 'Modbus', bacnet: 'BACnet', kerberos: 'Kerberos', telnet: 'Telnet',
  syslog: 'Syslog', netbios: 'NetBIOS', s7comm: 'S7comm', enip: 'EtherNet/IP', iec104: 'IEC 104', opcua: 'OPC UA', profinet: 'PROFINET', icmpv6: 'ICMPv6', postgres: 'PostgreSQL', mysql: 'MySQL',
  redis: 'Redis', wireguard: 'WireGuard', bittorrent: 'BitTorrent', vxlan: 'VXLAN', geneve: 'GENEVE', gre: 'GRE', teredo: 'Teredo', dhcpv6: 'DHCPv6', ethernetip: 'EtherNet/IP',
}
export const protocolName = (name: string): string => known[name] ?? (name.length <= 6 ? name.toUpperCase() : name)

export const featureGroups = ['volume', 'length', 'time', 'tcp', 'rhythm', 'content', 'other'] as const
export type FeatureGroup = (typeof featureGroups)[number]

/** Where a feature belongs, by the words of its name. */
export function groupOf(name: string): FeatureGroup {
  const words = name.toLowerCase()
  if (/iat|interval/.test(words)) return 'time'
  if (/burst|idle|active|period|regular|subflow|autocorr/.test(words)) return 'rhythm'
  if (/syn|fin_|rst|psh|ack|urg|ece|cwr|flag|window|win_|rtt|retrans|out_of_order|gap|mss|ttl/.test(words)) return 'tcp'
  if (/entropy|printable|ascii|zero|byte_hist|distinct|magic/.test(words)) return 'content'
  if (/len|size|header/.test(words)) return 'length'
  if (/bytes|packets|count|payload|ratio|rate|duration|per_s/.test(words)) return 'volume'
  return 'other'
}

/** "fwd_len_mean" → "forward len mean". */
export function featureName(name: string): string {
  return name.replace(/^fwd_/, 'forward_').replace(/^rev_/, 'backward_').replace(/_std$/, '_deviation').replaceAll('_', ' ')
}

/** A feature's value with its unit, as its table has it. */
export function featureValue(value: number, unit: string): string {
  if (!Number.isFinite(value)) return '–'
  switch (unit) {
    case 's':
      return Math.abs(value) > 0 && Math.abs(value) < 0.001 ? `${number(value * 1e6)} µs` : duration(value)
    case 'B':
    case 'By':
    case 'bytes':
      return bytes(value)
    case '':
    case '1':
    case 'count':
    case 'packets':
    case 'flows':
      return Number.isInteger(value) ? count(value) : number(value)
    default:
      return `${number(value)} ${unit}`
  }
}
