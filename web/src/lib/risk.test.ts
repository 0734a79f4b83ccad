import { expect, test } from 'vitest'
import { highestRisk, riskOf } from './risk'

test('where a connection may go decides its risk', () => {
  const dial = (to?: string[]) => riskOf({ cap: 'net.dial', args: to ? { to } : { proto: ['tcp'] } }).level
  expect(dial(['${config.targets}'])).toBe('low')
  expect(dial(['api.example.org:443'])).toBe('medium')
  expect(dial(['${config.targets}', 'api.example.org'])).toBe('medium')
  expect(dial(['*'])).toBe('high')
  expect(dial(['10.0.0.1', '0.0.0.0/0:443'])).toBe('high')
  expect(dial()).toBe('high')
})

test('reading everything is worse than reading one folder', () => {
  expect(riskOf({ cap: 'fs.read', args: { paths: ['/proc/net'] } }).level).toBe('medium')
  expect(riskOf({ cap: 'fs.read', args: { paths: ['/etc', '/'] } }).level).toBe('high')
  expect(riskOf({ cap: 'fs.read' }).level).toBe('high')
})

test('what is not known counts as high', () => {
  expect(riskOf({ cap: 'kernel.load' })).toEqual({ level: 'high', reason: 'unknown' })
})

test('the worst permission is the risk of all', () => {
  expect(highestRisk([])).toBeNull()
  expect(highestRisk([{ cap: 'state' }, { cap: 'flows.read' }])).toBe('low')
  expect(highestRisk([{ cap: 'state' }, { cap: 'packets.read' }, { cap: 'flows.read' }])).toBe('medium')
  expect(highestRisk([{ cap: 'facts.read', args: { kinds: ['dns'] } }, { cap: 'flows.read' }])).toBe('medium')
  expect(highestRisk([{ cap: 'act' }, { cap: 'state' }])).toBe('high')
})
