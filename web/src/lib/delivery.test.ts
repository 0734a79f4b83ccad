import { describe, expect, it } from 'vitest'
import { canUndo, webLink } from './delivery'

describe('a receipt', () => {
  it.each(['https://git.example/issues/7', 'http://192.0.2.1:8080/x?y=1#z'])('links to %s', (url) => expect(webLink(url)).toBe(url))

  it.each([undefined, '', '/alerts', '//other.example/', 'javascript:alert(1)', 'data:text/html,x', 'ftp://files.example/', 'https://user@host.example/', 'https://'])(
    'has no link in %s', (url) => expect(webLink(url)).toBeUndefined())

  it('can be taken back once', () => {
    expect(canUndo({ receipt: { undoable: true } })).toBe(true)
    expect(canUndo({ receipt: { undoable: true }, outcome: 'open' })).toBe(true)
    expect(canUndo({ receipt: { undoable: true }, outcome: 'undone' })).toBe(false)
    expect(canUndo({ receipt: { foreign_id: '7' } })).toBe(false)
    expect(canUndo({})).toBe(false)
  })
})
