import { expect, test } from 'vitest'
import { rowAfterKey, scrollFor, windowOf } from './windowed'

test('the rows in view and some around them are drawn, and the heights add up', () => {
  expect(windowOf(0, 400, 40, 1000, 5)).toEqual({ first: 0, end: 15, before: 0, after: 985 * 40 })
  expect(windowOf(4000, 400, 40, 1000, 5)).toEqual({ first: 95, end: 115, before: 95 * 40, after: 885 * 40 })
  for (const scrollTop of [-50, 0, 1, 39, 40, 20_000, 39_999, 1e9]) {
    for (const count of [0, 1, 7, 1000, 5_000_000]) {
      const w = windowOf(scrollTop, 400, 40, count)
      expect(w.first).toBeGreaterThanOrEqual(0)
      expect(w.end).toBeLessThanOrEqual(count)
      expect(w.end - w.first).toBeLessThanOrEqual(10 + 1 + 16)
      expect(w.before + (w.end - w.first) * 40 + w.after).toBe(count * 40)
    }
  }
})

test('scrolling goes only as far as a row needs', () => {
  expect(scrollFor(3, 0, 400, 40)).toBe(0)
  expect(scrollFor(10, 0, 400, 40)).toBe(40)
  expect(scrollFor(10, 0, 400, 40, 30)).toBe(70)
  expect(scrollFor(2, 400, 400, 40)).toBe(80)
})

test('keys lead from row to row and never out of the list', () => {
  expect(rowAfterKey('ArrowDown', 3, 10, 5)).toBe(4)
  expect(rowAfterKey('ArrowUp', 0, 10, 5)).toBe(0)
  expect(rowAfterKey('PageDown', 7, 10, 5)).toBe(9)
  expect(rowAfterKey('Home', 7, 10, 5)).toBe(0)
  expect(rowAfterKey('End', 7, 10, 5)).toBe(9)
  expect(rowAfterKey('a', 7, 10, 5)).toBeNull()
  expect(rowAfterKey('End', 0, 0, 5)).toBeNull()
})
