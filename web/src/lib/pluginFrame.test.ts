import { describe, expect, it } from 'vitest'
import type { SeriesAnswer } from '../api/types'
import { frameData, readFrameMessage } from './pluginFrame'

describe('what a frame says', () => {
  it('is that it is ready, or how high it would like to be', () => {
    expect(readFrameMessage({ type: 'picket.ready', more: 1 })).toEqual({ type: 'ready' })
    expect(readFrameMessage({ type: 'picket.size', height: 431.4 })).toEqual({ type: 'size', height: 431 })
  })

  it('is clamped', () => {
    expect(readFrameMessage({ type: 'picket.size', height: -5 })).toEqual({ type: 'size', height: 120 })
    expect(readFrameMessage({ type: 'picket.size', height: 1e9 })).toEqual({ type: 'size', height: 1200 })
  })

  it('is ignored otherwise', () => {
    const others = [null, undefined, 'picket.ready', 7, [], {}, { type: 'picket.data' }, { type: 'picket.size' }, { type: 'picket.size', height: '300' },
      { type: 'picket.size', height: NaN }, { type: 'picket.size', height: Infinity }, { type: ['picket.ready'] }]
    expect(others.map(readFrameMessage)).toEqual(others.map(() => null))
  })
})

describe('what a frame is told', () => {
  const answer = (metric: string): SeriesAnswer => ({
    metric, unit: 's', type: 'gauge', step_seconds: 10,
    series: [{ agent: 'secret-agent', labels: { target: 'a' }, points: [[1, null], [2, 3], [3, 4], [4, 4], [9, 5]] }, { labels: { target: 'b' }, points: [[1, null]] }],
  })

  it('is the metrics of the plugin, without empty series and without the agent', () => {
    expect(frameData('dark', [answer('m'), undefined])).toEqual({
      type: 'picket.data', theme: 'dark', series: [{ metric: 'm', unit: 's', labels: { target: 'a' }, points: [[2, 3], [3, 4], [4, 4], [5, null], [9, 5]] }],
    })
  })

  it('is eight metrics at most', () => {
    expect(frameData('light', Array.from({ length: 12 }, (_, i) => answer(`m${i}`))).series).toHaveLength(8)
  })
})
