import { expect, it } from 'vitest'
import { deviceName, spans } from './devices'

it('a device is known by what people call it', () => {
  const id = 'd1'
  expect(deviceName({ id, hostnames: ['printer'], ips: ['10.0.0.7'] })).toBe('printer')
  expect(deviceName({ id, ips: ['fe80::dca6:5aff:fefd:720d', '10.77.0.23'], macs: ['de:a6:5a:fd:72:0d'] })).toBe('10.77.0.23')
  expect(deviceName({ id, ips: ['10.0.0.7'], facts: { name: { value: 'Films', source: 'picket/ssdp', confidence: 0.85, time: '2026-03-01T12:00:00Z' } } })).toBe('Films')
  expect(deviceName({ id, ips: ['FEB0::1', 'fec0::1'] })).toBe('fec0::1')
  expect(deviceName({ id, ips: ['fe80::1'], macs: ['de:a6:5a:fd:72:0d'] })).toBe('fe80::1')
  expect(deviceName({ id, ips: [], macs: ['de:a6:5a:fd:72:0d'] })).toBe('de:a6:5a:fd:72:0d')
  expect(deviceName({ id })).toBe('d1')
})

it('hours in a row are one span', () => {
  expect(spans([9, 10, 11, 15])).toBe('09–12, 15–16')
  expect(spans([0, 23])).toBe('00–01, 23–24')
  expect(spans([])).toBe('')
})
