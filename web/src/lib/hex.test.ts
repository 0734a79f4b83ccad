import { expect, test } from 'vitest'
import { bytesOf, covers, hexRows, innermost } from './hex'

test('bytes stand in rows, as hex and as text', () => {
  const rows = hexRows(bytesOf('474554202f0d0a00ff'), 4)
  expect(rows.map((r) => r.offset)).toEqual([0, 4, 8])
  expect(rows[0]).toEqual({ offset: 0, bytes: ['47', '45', '54', '20'], text: ['G', 'E', 'T', ' '] })
  expect(rows[2]).toEqual({ offset: 8, bytes: ['ff'], text: ['.'] })
  expect(hexRows(new Uint8Array())).toEqual([])
})

test('what is no hex ends the bytes', () => {
  expect([...bytesOf('0aFF')]).toEqual([10, 255])
  expect([...bytesOf('0ax1ff')]).toEqual([10])
  expect([...bytesOf('0a1')]).toEqual([10])
  expect([...bytesOf('')]).toEqual([])
})

test('a byte belongs to the smallest field that holds it', () => {
  const layer = { offset: 14, length: 20, name: 'ip' }
  const field = { offset: 26, length: 4, name: 'source' }
  expect(innermost([layer, field], 27)).toBe(field)
  expect(innermost([layer, field], 14)).toBe(layer)
  expect(innermost([layer, field], 34)).toBeUndefined()
  expect(covers({ offset: 3, length: 0 }, 3)).toBe(false)
})
