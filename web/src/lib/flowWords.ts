// Flows in words: addresses with ports, flags, groups of features.
import { bytes, bytesPerSecond, duration, number } from './format'

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
  syslog: 'Syslog', netbios: 'NetBIOS', 'netbios-ns': 'NetBIOS names', 'netbios-dgm': 'NetBIOS datagrams', s7comm: 'S7comm', enip: 'EtherNet/IP', iec104: 'IEC 104', opcua: 'OPC UA', profinet: 'PROFINET', icmpv6: 'ICMPv6', postgres: 'PostgreSQL', mysql: 'MySQL',
  redis: 'Redis', wireguard: 'WireGuard', bittorrent: 'BitTorrent', vxlan: 'VXLAN', geneve: 'GENEVE', gre: 'GRE', teredo: 'Teredo', dhcpv6: 'DHCPv6', ethernetip: 'EtherNet/IP',
}
export const protocolName = (name: string): string => known[name] ?? (name.length <= 6 ? name.toUpperCase() : name)

export const featureGroups = ['volume', 'length', 'time', 'tcp', 'rhythm', 'content', 'other'] as const
export type FeatureGroup = (typeof featureGroups)[number]

/** Where a feature belongs, by the words of its name. */
export function groupOf(name: string): FeatureGroup {
  if (/iat|response_time|first_data/.test(name)) return 'time'
  if (/active|idle|bulk|turns|burst|period/.test(name)) return 'rhythm'
  if (/^(.*_)?(syn|fin|rst|psh|ack|urg|ece|cwr)_count$|window|retransmit|out_of_order|missed|handshake|ttl/.test(name)) return 'tcp'
  if (/entropy|printable/.test(name)) return 'content'
  if (/len_|payload_(min|max|mean|std)|header|small/.test(name)) return 'length'
  if (/bytes|packets|payload|rate|ratio|goodput|duration/.test(name)) return 'volume'
  return 'other'
}

/** A feature's value with its UCUM unit, as the table of features has it. */
export function featureValue(value: number, unit: string): string {
  if (!Number.isFinite(value)) return '–'
  switch (unit) {
    case 's':
      return Math.abs(value) > 0 && Math.abs(value) < 0.001 ? `${number(value * 1e6)} µs` : duration(value)
    case 'By':
      return bytes(value)
    case 'By/s':
      return bytesPerSecond(value)
    case '':
    case '1':
      return number(value)
    default:
      // What stands in braces says what is counted, as the name of the feature does.
      return [number(value), unit.replace(/\{[^}]*\}/, '').replace('By', 'B')].filter(Boolean).join(unit.startsWith('{') ? '' : ' ')
  }
}
