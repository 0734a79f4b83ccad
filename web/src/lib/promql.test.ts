import { describe, expect, it } from 'vitest'
import { commonLabels, csvOf, fullInDays, linesOf, markedPlace, nameOf, nothing, placeOf, promqlOf, secondsOf, shortNameOf, stepSeconds } from './promql'

describe('promqlOf', () => {
  it('writes what the builder says', () => {
    expect(promqlOf(nothing)).toBe('')
    expect(promqlOf({ ...nothing, metric: 'up' })).toBe('up')
    expect(promqlOf({ ...nothing, metric: 'up', filters: [{ label: 'job', is: '=~', value: 'a|"b"' }, { label: '', is: '=', value: 'x' }] })).toBe('up{job=~"a|\\"b\\""}')
    expect(promqlOf({ ...nothing, metric: 'a_total', over: 'rate', window: '1m', of: 'sum', by: ['agent', 'job'] })).toBe('sum by (agent, job) (rate(a_total[1m]))')
    expect(promqlOf({ ...nothing, metric: 'a', of: 'quantile', which: '0.5' })).toBe('quantile (0.5, a)')
    expect(promqlOf({ ...nothing, metric: 'a', of: 'topk', which: '' })).toBe('topk (5, a)')
    expect(promqlOf({ ...nothing, metric: 'with.dots' })).toBe('{"with.dots"}')
  })
})

describe('answers', () => {
  it('keeps what is no number as not known', () => {
    expect(linesOf({ resultType: 'matrix', result: [{ metric: { __name__: 'up', a: 'b' }, values: [[1, '2'], [2.5, 'NaN'], [3, '+Inf']] }] }))
      .toEqual([{ metric: { __name__: 'up', a: 'b' }, points: [[1000, 2], [2500, null], [3000, null]] }])
    expect(linesOf({ resultType: 'scalar', result: [1, '2'] })).toEqual([])
  })
  it('names series as Prometheus does', () => {
    expect(nameOf({})).toBe('{}')
    expect(nameOf({ __name__: 'up' })).toBe('up')
    expect(nameOf({ __name__: 'up', job: 'a"b' })).toBe('up{job="a\\"b"}')
  })
  it('leaves out what all have in common', () => {
    const list: Record<string, string>[] = [{ __name__: 'up', job: 'a', cpu: '0' }, { __name__: 'up', job: 'a', cpu: '1' }, { __name__: 'up', job: 'a' }]
    const common = commonLabels(list)
    expect(common).toEqual({ job: 'a' })
    expect(list.map((m) => shortNameOf(m, common))).toEqual(['up{cpu="0"}', 'up{cpu="1"}', 'up'])
    expect(commonLabels(list.slice(0, 1))).toEqual({})
    expect(shortNameOf({ __name__: 'up', constructor: 'x' }, common)).toBe('up{constructor="x"}')
  })
  it('finds where an error is', () => {
    expect(placeOf('invalid parameter "query": 1:8: parse error: unexpected end of input')).toEqual({ line: 1, column: 8, text: 'unexpected end of input' })
    expect(placeOf('query timed out')).toBeNull()
    expect(markedPlace('sum(\n  up', 2, 3)).toBe('  up\n  ^')
  })
})

describe('csvOf', () => {
  it('quotes, and lets no sheet run anything', () => {
    expect(csvOf(['a', 'b'], [['x,y', '=1+1'], [-1, null], ['"', { a: 1 }]])).toBe('a,b\r\n"x,y",\'=1+1\r\n-1,\r\n"""","{""a"":1}"\r\n')
  })
})

describe('times', () => {
  it('takes a step that gives some 240 points', () => {
    expect(stepSeconds(0, 3_600_000)).toBe(15)
    expect(stepSeconds(0, 1000)).toBe(1)
    expect(stepSeconds(0, 5 * 365 * 86_400_000)).toBe(691_200)
  })
  it('reads spans', () => {
    expect([secondsOf('90m'), secondsOf('2d'), secondsOf('x'), secondsOf('')]).toEqual([5400, 172_800, null, null])
  })
  it('says when a disk is full', () => {
    expect([fullInDays(100, 10), fullInDays(100, 0), fullInDays(100, -1)]).toEqual([10, null, null])
  })
})
