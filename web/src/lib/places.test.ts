import { expect, test } from 'vitest'
import { isFlow } from './places'

test('a flow is no capture', () => {
  expect(isFlow('/captures/c1/flows/7')).toBe(true)
  for (const path of ['/captures', '/captures/c1', '/captures/c1/packets', '/captures/flows/packets', '/flows', '/']) expect(isFlow(path)).toBe(false)
})
