import { expect, test } from 'vitest'
import { may } from './roles'

test('a deed is a permission, by its name or the name that pages share', () => {
  const who = { permissions: ['alerts:read', 'users:admin'] }
  expect(may(who, 'watch')).toBe(true)
  expect(may(who, 'operate')).toBe(false)
  expect(may(who, 'users:admin')).toBe(true)
  expect(may(who, 'tokens:admin')).toBe(false)
  expect(may(undefined, 'watch')).toBe(false)
})
