import { expect, test } from 'vitest'
import { featureValue, flagWords, groupOf, hostPort, protocolName } from './flowWords'

test('an address with its port can be read in both families', () => {
  expect(hostPort('10.0.0.1', 443, 'tcp')).toBe('10.0.0.1:443')
  expect(hostPort('2001:db8::1', 53, 'udp')).toBe('[2001:db8::1]:53')
  expect(hostPort('10.0.0.1', 8, 'icmp')).toBe('10.0.0.1')
  expect(hostPort('fe80::1', 135, 'icmpv6')).toBe('fe80::1')
  expect(hostPort('10.0.0.1', 0, 'ip')).toBe('10.0.0.1')
})

test('flags are named in the order of the header', () => {
  expect(flagWords(0x12)).toBe('SYN ACK')
  expect(flagWords(0)).toBe('')
  expect(flagWords(0xff)).toBe('FIN SYN RST PSH ACK URG ECE CWR')
})

test('protocols have names and features groups', () => {
  expect(protocolName('tls')).toBe('TLS')
  expect(protocolName('http2')).toBe('HTTP/2')
  expect(protocolName('somethinglong')).toBe('somethinglong')
  expect(groupOf('fwd_iat_std')).toBe('time')
  expect(groupOf('rev_len_mean')).toBe('length')
  expect(groupOf('syn_count')).toBe('tcp')
  expect(groupOf('handshake_rtt')).toBe('tcp')
  expect(groupOf('fwd_bytes')).toBe('volume')
  expect(groupOf('fwd_packets')).toBe('volume')
  expect(groupOf('fwd_ack_count')).toBe('tcp')
  expect(groupOf('fwd_payload_mean')).toBe('length')
  expect(groupOf('idle_max')).toBe('rhythm')
  expect(groupOf('fwd_entropy')).toBe('content')
  expect(groupOf('whatever')).toBe('other')
})

test('a value has the unit of its table', () => {
  expect(featureValue(0.25, 's')).toBe('250 ms')
  expect(featureValue(0.0000025, 's')).toBe('2.5 µs')
  expect(featureValue(2048, 'By')).toBe('2 KiB')
  expect(featureValue(7, '{packet}')).toBe('7')
  expect(featureValue(0.5, '')).toBe('0.5')
  expect(featureValue(3.5, 'bit/By')).toBe('3.5 bit/B')
  expect(featureValue(12.5, '{packet}/s')).toBe('12.5/s')
  expect(featureValue(2048, 'By/s')).toBe('2 KiB/s')
  expect(featureValue(NaN, 's')).toBe('–')
})
