import { expect, test } from 'vitest'
import type { Plugin } from '../api/types'
import { watches } from './observers'

const plugin = (kind: Plugin['kind'], ...caps: string[]) => ({ kind, permissions: caps.map((cap) => ({ cap })) as Plugin['permissions'] })

test('a discovery watches when all it may is to be shown traffic', () => {
  expect(watches(plugin('discovery', 'facts.read', 'flows.read', 'state'))).toBe(true)
  expect(watches(plugin('discovery', 'facts.read', 'net.dial'))).toBe(false)
  expect(watches(plugin('discovery', 'state'))).toBe(false)
  expect(watches(plugin('discovery'))).toBe(false)
  expect(watches(plugin('detector', 'facts.read'))).toBe(false)
})
