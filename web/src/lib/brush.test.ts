import { expect, test } from 'vitest'
import { brushed, momentAt, moved, partOf, stepOf, sumIn } from './brush'

const whole = { from: 1000, to: 2000 }

test('a place on the line is a moment, and back', () => {
  expect(momentAt(50, 100, whole)).toBe(1500)
  expect(momentAt(-5, 100, whole)).toBe(1000)
  expect(momentAt(500, 100, whole)).toBe(2000)
  expect(momentAt(5, 0, whole)).toBe(1000)
  expect(partOf(1250, whole)).toBe(0.25)
  expect(partOf(5, { from: 3, to: 3 })).toBe(0)
})

test('a dragged range covers whole buckets, in either direction; a click is none', () => {
  expect(brushed(1120, 1390, 100, whole)).toEqual({ from: 1100, to: 1400 })
  expect(brushed(1390, 1120, 100, whole)).toEqual({ from: 1100, to: 1400 })
  expect(brushed(1500, 1510, 100, whole)).toBeNull()
  expect(brushed(900, 2500, 100, whole)).toEqual(whole)
})

test('keys move one end, which never passes the other', () => {
  expect(moved({ from: 1100, to: 1400 }, 'from', 'ArrowRight', 100, whole)).toEqual({ from: 1200, to: 1400 })
  expect(moved({ from: 1100, to: 1200 }, 'from', 'ArrowRight', 100, whole)).toEqual({ from: 1100, to: 1200 })
  expect(moved({ from: 1100, to: 1400 }, 'to', 'End', 100, whole)).toEqual({ from: 1100, to: 2000 })
  expect(moved({ from: 1100, to: 1400 }, 'to', 'PageDown', 100, whole)).toEqual({ from: 1100, to: 1200 })
  expect(moved({ from: 1100, to: 1400 }, 'to', 'Tab', 100, whole)).toBeNull()
})

test('buckets tell their length and what a range holds', () => {
  const buckets = [1000, 1100, 1400].map((time, i) => ({ time, value: i + 1 }))
  expect(stepOf(buckets, whole)).toBe(100)
  expect(stepOf([], whole)).toBe(1000)
  expect(sumIn(buckets, { from: 1000, to: 1400 })).toBe(3)
})
