import { expect, test } from 'vitest'
import type { Gate, GateState, RolloutNode } from '../api/market'
import { changesBetween, configOf, facetEntries, gateCounts, gatesWorstFirst, newestOf, rolloutDeeds, rolloutProgress, short, tierOf, updateOf, whatItDoes } from './market'
import { activeFilters, isSearch, readAddress, withFilter } from './marketAddress'

const gate = (name: string, state: string): Gate => ({ name, state: state as GateState, summary: '' })

test('an address is read without trusting it', () => {
  expect(readAddress({})).toEqual({})
  expect(readAddress({ q: 'snmp', kind: 'collector', tier: 'gold', sort: 'new', page: 3, installed: true })).toEqual({
    q: 'snmp', kind: 'collector', tier: 'gold', sort: 'new', page: 3, installed: true,
  })
  expect(readAddress({ q: 443 })).toEqual({ q: '443' })
  expect(readAddress({ q: '', kind: 'virus', tier: 'platinum', sort: {}, page: -1, installed: 'yes', tag: ['a'] })).toEqual({})
  expect(readAddress({ page: 1 })).toEqual({})
  expect(readAddress({ q: 'x'.repeat(500) }).q).toHaveLength(200)
})

test('searching begins with anything in the address', () => {
  expect(isSearch({})).toBe(false)
  expect(isSearch({ sort: 'new' })).toBe(true)
  expect(activeFilters({ q: 'x', sort: 'new', page: 2 })).toEqual([])
  expect(activeFilters({ tag: 'ot', kind: 'data', installed: true })).toEqual(['kind', 'tag', 'installed'])
})

test('another filter starts on the first page', () => {
  expect(withFilter({ q: 'a', page: 4 }, { tag: 'ot' })).toEqual({ q: 'a', tag: 'ot' })
  expect(withFilter({ q: 'a', tag: 'ot' }, { tag: undefined })).toEqual({ q: 'a' })
  expect(withFilter({ q: 'a' }, { page: 2 })).toEqual({ q: 'a', page: 2 })
})

test('a facet shows the most frequent, and always what is chosen', () => {
  const facet = { a: 1, b: 5, c: 3 }
  expect(facetEntries(facet, undefined, 2)).toEqual([['b', 5], ['c', 3]])
  expect(facetEntries(facet, 'a', 2)).toEqual([['b', 5], ['c', 3], ['a', 1]])
  expect(facetEntries(undefined, 'gone', 2)).toEqual([['gone', 0]])
})

test('checks that need a look come first, and an unknown state has not passed', () => {
  const gates = [gate('size', 'passed'), gate('sbom', 'not checked'), gate('secrets', 'failed'), gate('licence', 'warning'), gate('rebuild', 'excellent')]
  expect(gatesWorstFirst(gates).map((g) => g.name)).toEqual(['secrets', 'licence', 'sbom', 'rebuild', 'size'])
  expect(gateCounts(gates)).toEqual({ failed: 1, warning: 1, 'not checked': 2, passed: 1 })
})

test('no card praises a release further than its checks went', () => {
  const of = (tier: string, ...states: string[]) => tierOf({ tier: tier as 'gold', gates: states.map((s) => gate('g', s)) })
  expect(of('gold', 'passed', 'passed')).toBe('gold')
  expect(of('gold', 'passed', 'warning')).toBe('silver')
  expect(of('gold', 'passed', 'not checked')).toBe('bronze')
  expect(of('gold', 'failed', 'passed')).toBe('none')
  expect(of('bronze', 'passed')).toBe('bronze')
  expect(of('platinum', 'passed')).toBe('none')
})

const log = `# Changes

## [1.3.0] - 2026-11-01
- new things

### Fixed
- old things

## 1.2.1
- a repair

## v1.2.0
- older

## How to read this
never shown
`

test('a change log between two versions', () => {
  expect(changesBetween(log, '1.2.0', '1.3.0')).toBe('## [1.3.0] - 2026-11-01\n- new things\n\n### Fixed\n- old things\n\n## 1.2.1\n- a repair')
  expect(changesBetween(log, '1.2.0', '1.2.1')).toBe('## 1.2.1\n- a repair')
  expect(changesBetween(log, '1.3.0', '1.3.0')).toBe('')
  expect(changesBetween('no headings at all', '1.0.0', '2.0.0')).toBe('')
})

test('an update is newer and not withdrawn', () => {
  const installed = { version: '1.2.0', enabled: true, nodes: 1 }
  expect(updateOf({ version: '1.10.0', installed })).toBe('1.10.0')
  expect(updateOf({ version: '1.2.0', installed })).toBeNull()
  expect(updateOf({ version: '1.1.0', installed })).toBeNull()
  expect(updateOf({ version: '1.3.0' })).toBeNull()
  expect(updateOf({ version: '1.3.0', installed, yanked: 'broken' })).toBeNull()
  expect(updateOf({ version: '1.3.0', installed, revoked: 'stolen key' })).toBeNull()
})

test('the newest release is stable and not withdrawn', () => {
  const stable = { channel: 'stable' as const }
  expect(newestOf([{ version: '2.0.0-rc.1', channel: 'beta' }, { version: '1.9.0', ...stable, yanked: 'x' }, { version: '1.10.0', ...stable }, { version: '1.11.0', ...stable, revoked: 'x' }, { version: '1.2.0', ...stable }])).toBe('1.10.0')
  expect(newestOf([{ version: '2.0.0-rc.1', channel: 'beta' }])).toBeNull()
})

test('how far a rollout is, and what can be done with it', () => {
  const node = (state: RolloutNode['state']) => ({ id: state, name: state, from: '1.0.0', to: '1.1.0', canary: false, state })
  expect(rolloutProgress({ nodes: [node('updated'), node('updated'), node('waiting'), node('failed'), node('rolled back')] })).toEqual({ done: 2, failed: 2, total: 5 })
  expect(rolloutProgress({ nodes: [] })).toEqual({ done: 0, failed: 0, total: 0 })
  expect(rolloutDeeds('canary')).toContain('pause')
  expect(rolloutDeeds('paused')).toContain('resume')
  expect(rolloutDeeds('rolling')).not.toContain('finish') // there are no canaries to wait for any more
  expect(rolloutDeeds('waiting')).toEqual(['resume', 'halt'])
  expect(rolloutDeeds('halted')).toEqual([])
  expect(rolloutDeeds('done')).toEqual([])
})

test('a README says nothing twice', () => {
  expect(whatItDoes('# acme/x\n\n## Name\n\n`acme/x`: a thing.\n\n## What it does\n\nMuch.\n', 'What it does')).toBe('\nMuch.\n')
  expect(whatItDoes('# X\n\nWords.\n\n## What it does\n\nMuch.\n', 'What it does')).toBe('\nWords.\n\n## What it does\n\nMuch.\n')
  expect(whatItDoes('Words only.', 'What it does')).toBe('Words only.')
  expect(whatItDoes('## Name\nnothing follows', 'What it does')).toBe('## Name\nnothing follows')
})

test('a digest to compare by eye', () => {
  expect(short('0123456789abcdef0123456789abcdef')).toBe('01234567…abcdef')
  expect(short('short')).toBe('short')
})

test('whose configuration a rollout brings', () => {
  const node = { id: 'a1', name: 'web-1', from: '1', to: '2', canary: true, state: 'waiting' as const }
  expect(configOf({ nodes: [node] })).toBeUndefined() // a plugin's
  expect(configOf({ target: 'agents', nodes: [node] })).toEqual({ of: 'all', name: '' })
  expect(configOf({ target: 'group:web', nodes: [node] })).toEqual({ of: 'group', name: 'web' })
  expect(configOf({ target: 'a1', nodes: [node] })).toEqual({ of: 'machine', name: 'web-1' })
  expect(configOf({ target: 'a2', nodes: [] })).toEqual({ of: 'machine', name: 'a2' })
})
