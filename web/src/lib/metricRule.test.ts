import { expect, test } from 'vitest'
import { blank, drawn, previewable, seriesName, termsOf } from './metricRule'

test('a rule is changed without what is known of it', () => {
  const terms = { ...blank, title: 'Queue', expr: 'queue > 1', group: 'web' }
  expect(termsOf({ ...terms, name: 'queue', ships: false, changed: true, took: 1, firing: 0, pending: 0, no_data: 'ends', stays: '' })).toEqual(terms)
})

test('what cannot be evaluated is not looked up', () => {
  expect(previewable(blank)).toBe(false)
  expect(previewable({ ...blank, expr: 'up == 0' })).toBe(true)
  expect(previewable({ ...blank, expr: 'up == 0', for: Number.NaN })).toBe(false)
  expect(previewable({ ...blank, expr: 'up == 0', every: 1 })).toBe(false)
})

test('series with alerts are drawn first', () => {
  const line = (host: string) => ({ metric: { __name__: 'm', host }, points: [] })
  const told = [{ labels: { host: 'c' }, summary: '', times: [] }]
  expect(drawn([line('a'), line('b'), line('c')], told, 2).map((l) => l.metric.host)).toEqual(['c', 'a'])
})

test('a series is named by whose it is and what of it', () => {
  expect(seriesName({ __name__: 'fill', agent_id: '1', agent_name: 'web', instance: 'web', job: 'j', disk: 'sda' })).toBe('web disk=sda')
  expect(seriesName({ agent_id: '1' })).toBe('1')
  expect(seriesName({})).toBe('–')
})
