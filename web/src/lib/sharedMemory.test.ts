import { expect, it } from 'vitest'
import type { Plugin } from '../api/types'
import { memoryOf } from './sharedMemory'

const plugin = (id: string, ...instances: [name: string, node: string, bytes: number, shares?: string[]][]) =>
  ({ id, instances: instances.map(([instance, node, memory_bytes, shares]) => ({ instance, node: { id: node }, shares, ledger: { memory_bytes } })) }) as Plugin

it('counts a shared process once, with the first plugin in it', () => {
  const memory = memoryOf([
    plugin('a', ['a', 'server', 90, ['b', 'c']], ['a@m', 'm', 7]),
    plugin('b', ['b', 'server', 90, ['c', 'a']]),
    plugin('c', ['c', 'server', 90, ['a', 'b']], ['c@m', 'm', 5]),
    plugin('d'),
  ])
  expect(memory.get('a')).toEqual({ bytes: 97, others: 2, with: undefined })
  expect(memory.get('b')).toEqual({ bytes: 0, others: 0, with: 'a' })
  expect(memory.get('c')).toEqual({ bytes: 5, others: 0, with: 'a' })
  expect(memory.get('d')).toEqual({ bytes: 0, others: 0, with: undefined })
})

it('keeps processes of two nodes apart, and those that nobody shares', () => {
  const memory = memoryOf([plugin('a', ['a', 'n1', 10, ['b']], ['a', 'n2', 20, ['b']]), plugin('b', ['b', 'n1', 10, ['a']], ['b', 'n2', 20, ['a']]), plugin('c', ['c', 'n1', 3], ['c2', 'n1', 3])])
  expect([...memory.values()].map((m) => m.bytes)).toEqual([30, 0, 6])
})
