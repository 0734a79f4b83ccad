import { expect, test } from 'vitest'
import { stack, timeTicks } from './plot'

const at = (h: number, m = 0, s = 0) => new Date(2026, 10, 23, h, m, s).getTime()

test('ticks are round moments of the local clock, and not more than there is room for', () => {
  expect(timeTicks(at(9, 58), at(10, 13), 5).map((t) => t.text)).toEqual(['10:00', '10:05', '10:10'])
  expect(timeTicks(at(9, 58, 3), at(9, 58, 41), 5).map((t) => t.text)).toEqual(['09:58:15', '09:58:30'])
  expect(timeTicks(at(0), at(0) + 7 * 86_400_000, 5).map((t) => t.text)).toEqual(['23.11.', '25.11.', '27.11.', '29.11.'])
  expect(timeTicks(at(1), at(23), 5).map((t) => t.text)).toEqual(['06:00', '12:00', '18:00'])
  expect(timeTicks(at(18), at(18) + 86_400_000, 5).map((t) => t.text)).toEqual(['18:00', '24.11.', '06:00', '12:00', '18:00'])
})

test('an empty or turned range has no ticks', () => {
  expect(timeTicks(5, 5, 5)).toEqual([])
  expect(timeTicks(9, 5, 5)).toEqual([])
  expect(timeTicks(0, 60_000, 0)).toEqual([])
})

test('lines stand on one another; a gap stays one and lifts nothing', () => {
  const [a, b] = stack([[[1, 2], [2, null], [3, 4]], [[1, 1], [2, 5], [3, 1]]], true)
  expect(a).toEqual([{ time: 1, base: 0, top: 2 }, { time: 2, base: 0, top: null }, { time: 3, base: 0, top: 4 }])
  expect(b).toEqual([{ time: 1, base: 2, top: 3 }, { time: 2, base: 0, top: 5 }, { time: 3, base: 4, top: 5 }])
  expect(stack([[[1, 2]], [[1, 1]]], false)[1]).toEqual([{ time: 1, base: 0, top: 1 }])
})
