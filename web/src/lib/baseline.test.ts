import { expect, test } from 'vitest'
import { boxOf, standing } from './baseline'

const spread = { p5: 10, p50: 20, p95: 40 }

test('a value is usual within the middle nine tenths', () => {
  expect(standing(10, spread)).toBe('usual')
  expect(standing(9.9, spread)).toBe('low')
  expect(standing(41, spread)).toBe('high')
})

test('places keep their order and stay on the line', () => {
  for (const value of [0, 10, 25, 40, 400, 4e6, -5]) {
    const box = boxOf(value, spread)!
    const places = [box.low, box.middle, box.high, box.value]
    for (const p of places) expect(p).toBeGreaterThanOrEqual(0.03)
    for (const p of places) expect(p).toBeLessThanOrEqual(0.97)
    expect(box.low).toBeLessThanOrEqual(box.middle)
    expect(box.middle).toBeLessThanOrEqual(box.high)
    if (value > 40) expect(box.value).toBeGreaterThan(box.high)
    if (value < 10) expect(box.value).toBeLessThan(box.low)
  }
  expect(boxOf(25, spread)!.log).toBe(false)
  expect(boxOf(4e6, spread)!.log).toBe(true)
  expect(boxOf(-5, { p5: 0, p50: 1, p95: 1e6 })!.log).toBe(false)
})

test('a feature that never varies stands in the middle; what is no number has no box', () => {
  expect(boxOf(3, { p5: 3, p50: 3, p95: 3 })).toMatchObject({ low: 0.5, value: 0.5 })
  expect(boxOf(0, { p5: 0, p50: 0, p95: 0 })).toMatchObject({ value: 0.5 })
  expect(boxOf(NaN, spread)).toBeNull()
  expect(boxOf(1, { p5: 0, p50: Infinity, p95: 2 })).toBeNull()
})
