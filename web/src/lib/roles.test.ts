import { expect, test } from 'vitest'
import { may, type Deed } from './roles'

test('a deed is a permission, by its name or the name that pages share', () => {
  const who = { permissions: ['alerts:read', 'users:admin'], tenant: '' }
  expect(may(who, 'watch')).toBe(true)
  expect(may(who, 'operate')).toBe(false)
  expect(may(who, 'users:admin')).toBe(true)
  expect(may(who, 'tokens:admin')).toBe(false)
  expect(may(undefined, 'watch')).toBe(false)
})

test('what is the operator’s is not for other tenants', () => {
  const permissions = ['alerts:read', 'users:admin', 'plugins:read', 'settings:admin']
  const allowed = (tenant: string) => [...permissions, 'administer' as const].filter((p) => may({ permissions, tenant }, p as Deed))
  expect(allowed('')).toEqual([...permissions, 'administer'])
  expect(allowed('acme')).toEqual(['alerts:read', 'users:admin'])
})
