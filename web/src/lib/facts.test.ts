import i18next from 'i18next'
import { beforeAll, expect, test } from 'vitest'
import traffic from '../locales/traffic.en.json'
import { byKind, dnsType, fieldText, say, type Fields } from './facts'

beforeAll(() => i18next.init({ lng: 'en', resources: { en: { translation: traffic } }, interpolation: { escapeValue: false } }))

const line = (kind: string, fields: Fields, name = '') => say({ kind, fields, name, from_server: false, client: '10.0.0.1' }, i18next.t)

test('each kind has a line that a person can read', () => {
  expect(line('dns', { query: 'example.com', qtype: 28 }).text).toBe('asked for example.com (AAAA)')
  expect(line('dns', { query: 'example.com', response: true, answers: ['192.0.2.1', '192.0.2.2'] }).text).toBe('answered for example.com: 192.0.2.1, 192.0.2.2')
  expect(line('dns', { query: 'no.example', response: true, rcode: 3 })).toMatchObject({ text: 'answered for no.example: NXDOMAIN', bad: true })
  expect(line('dns', { query: 'x.local', response: true, protocol: 'mdns' })).toMatchObject({ text: 'answered for x.local: no record', marks: ['mDNS'] })
  expect(line('tls', { version: 0x0304, server_name: 'example.com', alpn: 'h2' })).toMatchObject({ text: 'TLS 1.3 with example.com', marks: ['h2'], bad: false })
  expect(line('tls', { offered: 0x0301 })).toMatchObject({ text: 'TLS 1.0 without a name', bad: true })
  expect(line('tls', { protocol: 'quic', server_name: 'a' }).text).toBe('QUIC with a')
  expect(line('http', { method: 'GET', host: 'example.com', target: '/a', status: 404, reason: 'Not Found' })).toMatchObject({ text: 'GET example.com/a, answered 404 Not Found', bad: true })
  expect(line('http', { method: 'POST', host: 'h', target: '/' }).text).toBe('POST h/, no answer was seen')
  expect(line('logins', { user: 'ada', method: 'PLAIN', result: 'failure', clear: true })).toMatchObject({ text: 'ada by PLAIN: refused', marks: ['in the clear'], bad: true })
  expect(line('logins', { protocol: 'ssh' }).text).toBe('a user whose name was not sent in the clear by SSH: result not seen')
  expect(line('files', { name: 'a.exe', type: 'application/x-dosexec', size: 2048, complete: true }).text).toBe('a.exe, application/x-dosexec, 2 KiB')
  expect(line('dhcp', { name: 'request', hostname: 'printer', mac: '00:11:22:33:44:55', requested: '10.0.0.9' })).toMatchObject({ text: 'request of printer, 00:11:22:33:44:55', marks: ['10.0.0.9'] })
  expect(line('arp', { operation: 'request', sender_ip: '10.0.0.1', target_ip: '10.0.0.2' }).text).toBe('10.0.0.1 asks who has 10.0.0.2')
  expect(line('ot', { protocol: 'modbus', name: 'write single coil', object: '12', unit: '1', failed: true })).toMatchObject({ text: 'Modbus write single coil 12', bad: true })
  expect(line('smb', { name: 'create', share: '\\\\s\\c$', file: 'x.txt', response: true, status: 0xc0000022 })).toMatchObject({ text: 'create \\\\s\\c$ x.txt', bad: true })
  expect(line('messages', { protocol: 'ssh', name: 'banner', text: 'SSH-2.0-OpenSSH_9.2' }).text).toBe('SSH banner SSH-2.0-OpenSSH_9.2')
})

test('what the network says is only text, whatever its type', () => {
  expect(line('dns', { query: 7, qtype: 'x', answers: 'none', response: true, rcode: {} }).text).toContain('answered for 7')
  expect(line('http', {}).text).toContain('no answer was seen')
  expect(line('something', { a: 1, b: 'two' }).text).toBe('b two')
  expect(line('something', {}, 'named').text).toBe('named')
  expect(line('constructor', {}, 'named').text).toBe('named')
  expect(fieldText(['a', 2, null])).toBe('a, 2, null')
  expect(fieldText({ a: 1 })).toBe('{"a":1}')
  expect(fieldText('x'.repeat(5000)).length).toBeLessThan(2010)
  expect(dnsType(65_400)).toBe('TYPE65400')
})

test('facts are grouped by kind in the order they came', () => {
  const facts = [{ kind: 'tls', n: 1 }, { kind: 'dns', n: 2 }, { kind: 'tls', n: 3 }]
  expect(byKind(facts).map(([kind, l]) => [kind, l.length])).toEqual([['tls', 2], ['dns', 1]])
})
