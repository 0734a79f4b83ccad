import { describe, expect, it } from 'vitest'
import { compareVersions, newness, otherVersions, withdrawnOf } from './versions'

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

  it('knows which were withdrawn and why; revoked says more than yanked', () => {
    const found = withdrawnOf([{ version: '1.3.0' }, { version: '1.2.0', yanked: 'loses records' }, { version: '1.1.0', revoked: 'stolen key', yanked: 'old' }])
    expect([...found]).toEqual([['1.2.0', { how: 'yanked', why: 'loses records' }], ['1.1.0', { how: 'revoked', why: 'stolen key' }]])
  })

  it('calls nothing the newest when no version may run', () => {
    expect(newness('', ['1.4.0'])).toBe('none')
    expect(newness(undefined, [])).toBe('none')
    expect(newness('1.3.0', ['1.4.0'])).toBe('withdrawn')
    expect(newness('1.4.0', ['1.4.0'])).toBe('newest')
    expect(newness('1.4.0', ['1.4.0', '1.3.0'])).toBe('older') // one group is behind
    expect(newness('1.4.0', [''])).toBe('newest') // wanted nowhere
  })
})
