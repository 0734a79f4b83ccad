import { expect, test } from 'vitest'
import { chipsOf, columnsOf, filterOf, readFlowAddress, readWords, standardColumns, withFlow, without } from './flowFilter'

test('an address is read without trusting it', () => {
  expect(readFlowAddress({})).toEqual({})
  const full = { capture: 'c1', host: '10.0.0.0/8', port: 443, app: 'tls', min_bytes: 1000, min_duration: 0.5, from: 1000, to: 2000, sort: '-bytes', cols: 'start,bytes' }
  expect(readFlowAddress(full)).toEqual(full)
  expect(readFlowAddress({ port: '443', text: 12, host: '  ' })).toEqual({ port: 443, text: '12' })
  expect(readFlowAddress({ port: 70_000, vlan: 4096, min_bytes: -1, min_packets: 1.5, min_duration: 'long', app: ['a'], from: {}, sort: 'rm -rf' })).toEqual({})
  expect(readFlowAddress({ port: '', vlan: ' ' })).toEqual({})
  expect(readFlowAddress({ text: 'x'.repeat(500) }).text).toHaveLength(200)
  expect(readFlowAddress({ from: 2000, to: 1000 })).toEqual({})
  expect(readFlowAddress({ from: 1e300 })).toEqual({})
})

test('what is standard is not in the address', () => {
  expect(readFlowAddress({ sort: '-start', cols: standardColumns.join() })).toEqual({})
  expect(columnsOf({})).toEqual(standardColumns)
  expect(columnsOf({ cols: 'bytes,start,evil' })).toEqual(['start', 'bytes'])
  expect(readFlowAddress({ cols: '' }).cols).toBe('')
  expect(columnsOf({ cols: '' })).toEqual([])
})

test('each filter is a chip, the time range is one', () => {
  const a = readFlowAddress({ app: 'dns', port: 53, from: 1, to: 2, sort: '-bytes' })
  expect(chipsOf(a).map((c) => c.field)).toEqual(['from', 'app', 'port'])
  expect(without(a, ['from', 'to'])).toEqual({ app: 'dns', port: 53, sort: '-bytes' })
  expect(withFlow(a, { port: undefined, app: 'tls' })).toEqual({ app: 'tls', from: 1, to: 2, sort: '-bytes' })
  expect(filterOf(a)).toEqual({ app: 'dns', port: 53, from: 1, to: 2 })
  expect(chipsOf({ to: 5 })).toEqual([{ field: 'from', fields: ['from', 'to'] }])
})

test('typed words become filters', () => {
  expect(readWords('port:443 app:tls')).toEqual({ port: 443, app: 'tls' })
  expect(readWords('10.0.0.5')).toEqual({ host: '10.0.0.5' })
  expect(readWords('10.0.0.0/8 udp')).toEqual({ host: '10.0.0.0/8', proto: 'udp' })
  expect(readWords('2001:db8::/32')).toEqual({ host: '2001:db8::/32' })
  expect(readWords('fe80::1')).toEqual({ host: 'fe80::1' })
  expect(readWords('443')).toEqual({ port: 443 })
  expect(readWords(':8080 TCP')).toEqual({ port: 8080, proto: 'tcp' })
  expect(readWords('client:10.1.1.1 server:2001:db8::1')).toEqual({ src: '10.1.1.1', dst: '2001:db8::1' })
  expect(readWords('bytes>1.5M duration>=60s packets:10')).toEqual({ min_bytes: 1_500_000, min_duration: 60, min_packets: 10 })
  expect(readWords('bytes>2KiB')).toEqual({ min_bytes: 2048 })
  expect(readWords('bytes>lots')).toEqual({ text: 'bytes>lots' })
  expect(readWords('login example.com')).toEqual({ text: 'login example.com' })
  expect(readWords('bytes>lots port:ssh app:ssh')).toEqual({ text: 'bytes>lots port:ssh', app: 'ssh' })
  expect(readWords('http://example.com/a')).toEqual({ text: 'http://example.com/a' })
  expect(readWords('constructor:x')).toEqual({ text: 'constructor:x' })
  expect(readWords('   ')).toEqual({})
})
