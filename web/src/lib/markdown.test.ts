import { expect, it } from 'vitest'
import { inline, markdown, type Block, type Inline } from './markdown'

const words = (text: Inline[]) => text.map((t) => t.text).join('')
const shape = (b: Block): unknown => {
  switch (b.kind) {
    case 'heading':
      return [`h${b.level}`, words(b.text)]
    case 'paragraph':
      return ['p', words(b.text)]
    case 'list':
      return ['ul', ...b.items.map(words)]
    case 'table':
      return ['table', b.head.map(words), ...b.rows.map((r) => r.map(words))]
    case 'code':
      return ['code', b.text]
  }
}

it('reads what the READMEs of plugins hold', () => {
  const source = [
    '# picket/x', '', 'One line', 'and its end.', '', '- first', '  goes on', '- second', '',
    '<!-- config:begin (made', 'by a test) -->', '| Name | Meaning |', '|---|:-:|', '| `a` | one \\| two |', '<!-- config:end -->',
    '```json', '{"a": 1}', '', '```', 'After.',
  ].join('\n')
  expect(markdown(source).map(shape)).toEqual([
    ['h1', 'picket/x'],
    ['p', 'One line and its end.'],
    ['ul', 'first goes on', 'second'],
    ['table', ['Name', 'Meaning'], ['a', 'one | two']],
    ['code', '{"a": 1}\n'],
    ['p', 'After.'],
  ])
})

it('marks code and strong text, and keeps only the words of a link', () => {
  expect(inline('Use `x` **now**: [here](javascript:alert(1))')).toEqual([
    { code: false, strong: false, text: 'Use ' },
    { code: true, strong: false, text: 'x' },
    { code: false, strong: false, text: ' ' },
    { code: false, strong: true, text: 'now' },
    { code: false, strong: false, text: ': here)' },
  ])
})

it('leaves HTML as text and ends whatever it is given', () => {
  expect(markdown('<script>alert(1)</script>').map(shape)).toEqual([['p', '<script>alert(1)</script>']])
  for (const odd of ['```', '<!--', '|', '- ', '#', '|\n|', '**', '`']) expect(() => markdown(odd)).not.toThrow()
})
