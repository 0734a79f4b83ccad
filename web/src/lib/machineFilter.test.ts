import { describe, expect, it } from 'vitest'
import { machineQuery, machineViewQuery, narrowed, partsOf, readLabels, readMachineAddress, sortAfter } from './machineFilter'

describe('the address of the list of machines', () => {
  it('is read without trust', () => {
    expect(readMachineAddress({ q: 'web', state: 'asleep', plugins: 'failing', sort: '-seen', group: { a: 1 }, version: 2, add: 'yes', other: 1 })).toEqual({ q: 'web', plugins: 'failing', sort: '-seen', version: '2' })
    expect(readMachineAddress({ q: 'x'.repeat(500) }).q).toHaveLength(200)
  })
  it('comes back from a saved view', () => {
    const address = readMachineAddress({ q: 'a&b=c', state: 'late', label: 'site=oslo', sort: 'group', add: true })
    expect(readMachineAddress(Object.fromEntries(new URLSearchParams(machineViewQuery(address))))).toEqual({ q: 'a&b=c', state: 'late', label: 'site=oslo', sort: 'group' })
  })
  it('asks the API, by name when nothing is said', () => {
    expect(machineQuery({ state: 'late', label: 'a=b' })).toMatchObject({ state: ['late'], label: ['a=b'], sort: 'name', group: undefined })
  })
  it('knows whether it narrows', () => {
    expect(narrowed({ sort: 'seen', add: true })).toBe(false)
    expect(narrowed({ group: 'lab' })).toBe(true)
  })
})

it('sorts first one way, then the other', () => {
  expect(sortAfter(undefined, 'seen')).toBe('seen')
  expect(sortAfter(undefined, 'name')).toBe('-name')
  expect(sortAfter('seen', 'seen')).toBe('-seen')
  expect(sortAfter('-seen', 'seen')).toBe('seen')
})

it('reads the parts that hold the rows', () => {
  expect(partsOf(0, 0, 100)).toEqual([0])
  expect(partsOf(0, 100, 100)).toEqual([0])
  expect(partsOf(95, 130, 100)).toEqual([0, 1])
  expect(partsOf(9950, 10000, 100)).toEqual([99])
})

it('understands labels as people type them', () => {
  expect(readLabels('site=oslo, role = web\nspare')).toEqual({ site: 'oslo', role: 'web', spare: '' })
  expect(readLabels('')).toEqual({})
  expect(readLabels('=x')).toBeNull()
})
