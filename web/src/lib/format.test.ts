import { describe, expect, it } from 'vitest'
import { ago, axisValue, bytes, clock, duration, frameFilter, number, percent, quantity, ranges, second } from './format'
import { niceTop } from './series'

describe('bytes', () => {
  it.each([
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1024 * 1024 - 1, '1 MiB'],
    [123.4 * 1024 * 1024, '123 MiB'],
    [-2048, '−2 KiB'],
    [2 ** 60, '1024 PiB'],
  ])('%d is %s', (value, want) => expect(bytes(value)).toBe(want))
})

it('percent keeps one digit until it is full', () => {
  expect(percent(0)).toBe('0\u202f%')
  expect(percent(0.1234)).toBe('12.3\u202f%')
  expect(percent(0.9996)).toBe('100\u202f%')
})

describe('duration', () => {
  it.each([
    [0, '0 s'],
    [0.34, '340 ms'],
    [1.25, '1.3 s'],
    [59.6, '1 min'],
    [250, '4 min 10 s'],
    [3600, '1 h'],
    [11100, '3 h 5 min'],
    [187200, '2 d 4 h'],
    [-0.0001, '0 s'],
    [-0.02, '−20 ms'],
  ])('%d seconds is %s', (value, want) => expect(duration(value)).toBe(want))
})

it('ago rounds down, and the future is now', () => {
  const now = new Date('2026-11-21T12:00:00Z')
  const before = (s: number) => new Date(now.getTime() - s * 1000)
  expect(ago(before(-5), now)).toBe('now')
  expect(ago(before(59.9), now)).toBe('59 s ago')
  expect(ago(before(60), now)).toBe('1 min ago')
  expect(ago(before(3 * 86400 + 5), now)).toBe('3 d ago')
  expect(ago(before(700 * 86400), now)).toBe('700 d ago')
  expect(ago(new Date('2009-01-04T04:02:30Z'), now)).toBe('17 y ago')
})

it('clock shows only what differs from now', () => {
  const now = new Date(2026, 10, 21, 12, 0, 0)
  expect(clock(new Date(2026, 10, 21, 9, 5, 7), now)).toBe('09:05:07')
  expect(clock(new Date(2026, 2, 3, 9, 5, 7), now)).toBe('3 Mar 09:05')
  expect(clock(new Date(2025, 2, 3, 9, 5, 7), now)).toBe('2025-03-03 09:05')
  expect(clock(new Date('not a time'), now)).toBe('–')
})

it('second is exact on every day', () => {
  const now = new Date(2026, 10, 21, 12, 0, 0)
  expect(second(new Date(2026, 10, 21, 9, 5, 7), now)).toBe('09:05:07')
  expect(second(new Date(2026, 2, 3, 9, 5, 7), now)).toBe('3 Mar 09:05:07')
  expect(second(new Date(2025, 2, 3, 9, 5, 7), now)).toBe('2025-03-03 09:05:07')
  expect(second(new Date('not a time'), now)).toBe('–')
})

it('packet numbers fold into runs, whatever their order', () => {
  expect(ranges([9, 1, 2, 3, 7, 3, 10])).toBe('1–3, 7, 9–10')
  expect(ranges([])).toBe('')
  expect(frameFilter([9, 1, 2, 3, 7, 10])).toBe('frame.number in {1..3, 7, 9..10}')
})

it('quantity follows the unit', () => {
  expect(quantity(2048, 'By')).toBe('2 KiB')
  expect(quantity(0.5, '1')).toBe('50.0\u202f%')
  expect(quantity(1234, '{packet}')).toBe('1,234')
  expect(quantity(3, 'W')).toBe('3 W')
  expect(quantity(12.19794, '{record}/s')).toBe('12.2')
  expect(quantity(12345.6, '{record}/s')).toBe('12,346')
})

it('number has no false precision', () => {
  expect(number(0.00001234)).toBe('1.23e-5')
  expect(number(1234.567)).toBe('1,234.6')
  expect(number(Number.NaN)).toBe('–')
})

describe('beside an axis', () => {
  const units = ['1', '%', 's', 'By', 'By/s', '{record}/s', '{packet}', '', 'W']
  it.each(units)('no label stands twice, whatever the peak: unit %o', (unit) => {
    for (let peak = 1e-12; peak < 1e15; peak *= 1.37) {
      const top = niceTop(peak, unit.startsWith('By') ? 1024 : 1000)
      const labels = [0, top / 2, top].map((v) => axisValue(v, unit))
      expect(new Set(labels).size, `${labels.join(', ')} up to ${peak}`).toBe(3)
    }
  })
  it.each([
    [0.0005, '1', '0.05\u202f%'],
    [0.001, '1', '0.1\u202f%'],
    [0.125, '1', '12.5\u202f%'],
    [0.5, '1', '50\u202f%'],
    [0.05, '%', '0.05\u202f%'],
    [0.0025, 's', '2.5 ms'],
    [0.0000005, 's', '500 ns'],
    [12.5, 's', '12.5 s'],
    [3600, 's', '1 h'],
    [512, 'By', '512 B'],
    [2.5, '{packet}', '2.5'],
    [0, 's', '0 s'],
  ])('%d of %o is %o', (value, unit, want) => expect(axisValue(value, unit)).toBe(want))
})
