import { describe, expect, it } from 'vitest'
import { compareVersions, otherVersions } from './versions'

describe('versions', () => {
  it('are ordered as semantic versions', () => {
    const ordered = ['nonsense', '0.9.0', '1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-rc.2', '1.0.0-rc.10', '1.0.0', '1.2.0', '1.10.0', '2.0.0']
    const mixed = ordered.toReversed()
    expect(mixed.toSorted(compareVersions)).toEqual(ordered)
  })

  it('are the same whatever the build', () => {
    expect(compareVersions('1.0.0+linux', '1.0.0+windows')).toBe(0)
  })

  it('offers all but the running one, the newest first', () => {
    expect(otherVersions(['0.1.0', '0.10.0', '0.2.0', '0.2.0'], '0.1.0')).toEqual(['0.10.0', '0.2.0'])
    expect(otherVersions(['0.1.0'], '0.1.0')).toEqual([])
  })
})
