import { describe, expect, it } from 'vitest'
import type { Point, SeriesAnswer } from '../api/types'
import { breakAtGaps, latest, merge, niceTop, refreshFrom, shares, stepFor, sumBy, valueAt, windowStart } from './series'

const answer = (...series: [string, Point[]][]): SeriesAnswer => ({
  metric: 'm',
  unit: '1',
  type: 'gauge',
  step_seconds: 10,
  series: series.map(([cpu, points]) => ({ labels: { cpu }, points })),
})

describe('merge', () => {
  it('replaces the window that was read again and drops what left the range', () => {
    const old = answer(['0', [[0, 1], [10, 2], [20, 3], [30, null]]])
    const fresh = answer(['0', [[20, 3.5], [30, 4], [40, 5]]])
    expect(merge(old, fresh, 10).series[0]?.points).toEqual([[10, 2], [20, 3.5], [30, 4], [40, 5]])
  })

  it('keeps a series that the refresh did not mention, and adds a new one', () => {
    const old = answer(['0', [[0, 1]]])
    const fresh = answer(['1', [[10, 2]]])
    expect(merge(old, fresh, 0).series.map((s) => s.labels.cpu)).toEqual(['0', '1'])
  })

  it('forgets a series once all of it has left the range', () => {
    const old = answer(['gone', [[0, 1]]], ['here', [[0, 1], [20, 1]]])
    expect(merge(old, answer(['here', [[30, 2]]]), 10).series.map((s) => s.labels.cpu)).toEqual(['here'])
  })

  it('starts over when the step changed', () => {
    const fresh = { ...answer(['0', [[60, 2]]]), step_seconds: 60 }
    expect(merge(answer(['0', [[0, 1]]]), fresh, 0).series[0]?.points).toEqual([[60, 2]])
  })
})

it('a refresh asks three steps before the last known value', () => {
  expect(refreshFrom(undefined, 5)).toBe(5)
  expect(refreshFrom(answer(['0', [[100_000, 1], [110_000, null]]]), 5)).toBe(70_000)
  expect(refreshFrom(answer(['0', [[100_000, 1]]]), 90_000)).toBe(90_000)
})

it('sums by label; a sum of nothing stays unknown', () => {
  const { series } = answer(['0', [[0, 1], [10, null], [20, null]]], ['1', [[0, 2], [10, 5], [20, null]]])
  expect(sumBy(series, () => 'all')).toEqual([{ name: 'all', points: [[0, 3], [10, 5], [20, null]] }])
})

it('shares are parts of the sum of what is known', () => {
  const lines = [
    { name: 'user', points: [[0, 1], [10, null], [20, 0]] as Point[] },
    { name: 'idle', points: [[0, 3], [10, 2], [20, 0]] as Point[] },
  ]
  expect(shares(lines).map((l) => l.points.map(([, v]) => v))).toEqual([
    [0.25, null, null],
    [0.75, 1, null],
  ])
})

describe('breakAtGaps', () => {
  it('drops slots that are empty because the step is finer than the data', () => {
    expect(breakAtGaps([[0, 1], [5, null], [10, 2], [15, null], [20, 3]])).toEqual([[0, 1], [10, 2], [20, 3]])
  })
  it('keeps one hole where data is really missing', () => {
    expect(breakAtGaps([[0, 1], [10, 2], [20, 3], [30, null], [60, 4], [70, 5]])).toEqual([
      [0, 1], [10, 2], [20, 3], [30, null], [60, 4], [70, 5],
    ])
  })
  it('takes the shorter of two distances for the usual one', () => {
    expect(breakAtGaps([[0, 1], [10, 2], [500, 3]])).toEqual([[0, 1], [10, 2], [20, null], [500, 3]])
  })
  it('is calm about one point and none', () => {
    expect(breakAtGaps([])).toEqual([])
    expect(breakAtGaps([[5, 1]])).toEqual([[5, 1]])
  })
})

it('latest and valueAt skip what is missing', () => {
  const points: Point[] = [[0, 1], [10, 2], [20, null]]
  expect(latest(points)).toEqual([10, 2])
  expect(latest([])).toBeNull()
  expect(valueAt(points, 12, 5)).toBe(2)
  expect(valueAt(points, 20, 5)).toBeNull()
})

it('steps are round and never below five seconds', () => {
  expect(stepFor(60)).toBe(5)
  expect(stepFor(3600)).toBe(15)
  expect(stepFor(7 * 86400)).toBe(3600)
})

it('a chart begins where its data begins, but spans two minutes', () => {
  const { series } = answer(['0', [[0, null], [600_000, 1]]], ['1', [[650_000, 1]]])
  expect(windowStart(series, 0, 1_000_000)).toBe(600_000)
  expect(windowStart(series, 0, 640_000)).toBe(520_000)
  expect(windowStart(series, 700_000, 1_000_000)).toBe(700_000)
  expect(windowStart([], 5, 1_000_000)).toBe(5)
})

it('a chart ends at a round number of its unit', () => {
  expect(niceTop(9.3 * 1024 * 1024, 1024)).toBe(10 * 1024 * 1024)
  expect(niceTop(1024, 1024)).toBe(1024)
  expect(niceTop(900, 1024)).toBe(1024)
  expect(niceTop(0.3, 1000)).toBeCloseTo(0.4)
  expect(niceTop(0, 1024)).toBe(1)
})
