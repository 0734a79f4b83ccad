// The little Markdown that READMEs of plugins use, as data: headings, paragraphs, lists, tables, code. There is no HTML
// in the result and links are only text, because a README comes from whoever wrote the plugin.

export type Inline = { code: boolean; strong: boolean; text: string }
export type Block =
  | { kind: 'heading'; level: number; text: Inline[] }
  | { kind: 'paragraph'; text: Inline[] }
  | { kind: 'list'; items: Inline[][] }
  | { kind: 'table'; head: Inline[][]; rows: Inline[][][] }
  | { kind: 'code'; text: string }

export function markdown(source: string): Block[] {
  const lines = source.replaceAll('\r\n', '\n').split('\n')
  const blocks: Block[] = []
  let at = 0
  /** Takes lines as long as they fit. */
  const take = (fits: (line: string) => boolean): string[] => {
    const start = at
    while (at < lines.length && fits(lines[at]!)) at++
    return lines.slice(start, at)
  }
  while (at < lines.length) {
    const line = lines[at]!
    const heading = /^(#{1,6})\s+(.*)$/.exec(line)
    if (line.trim() === '') at++
    else if (line.startsWith('<!--')) {
      take((l) => !l.includes('-->'))
      at++
    } else if (line.startsWith('```')) {
      at++
      blocks.push({ kind: 'code', text: take((l) => !l.startsWith('```')).join('\n') })
      at++
    } else if (heading) {
      blocks.push({ kind: 'heading', level: heading[1]!.length, text: inline(heading[2]!) })
      at++
    } else if (isItem(line)) blocks.push({ kind: 'list', items: items(take((l) => isItem(l) || /^\s+\S/.test(l))) })
    else if (line.startsWith('|')) blocks.push(table(take((l) => l.startsWith('|'))))
    else blocks.push({ kind: 'paragraph', text: inline(take((l) => l.trim() !== '' && !/^(#{1,6}\s|```|\||<!--)/.test(l) && !isItem(l)).join(' ')) })
  }
  return blocks
}

const isItem = (line: string): boolean => /^\s*([-*+]|\d+[.)])\s+/.test(line)

function items(lines: string[]): Inline[][] {
  const texts: string[] = []
  for (const line of lines) {
    if (isItem(line)) texts.push(line.replace(/^\s*([-*+]|\d+[.)])\s+/, ''))
    else texts[texts.length - 1] += ` ${line.trim()}`
  }
  return texts.map(inline)
}

function table(lines: string[]): Block {
  const cells = lines.map((l) => l.replace(/^\||\|\s*$/g, '').split(/(?<!\\)\|/).map((c) => inline(c.trim().replaceAll('\\|', '|'))))
  const [head = [], second, ...rest] = cells
  const ruled = second?.every((c) => /^:?-*:?$/.test(c.map((i) => i.text).join('')))
  return { kind: 'table', head, rows: ruled || !second ? rest : [second, ...rest] }
}

/** Code, strong text, and links by their words. */
export function inline(source: string): Inline[] {
  const out: Inline[] = []
  for (const part of source.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
    if (part === '') continue
    if (part.length > 2 && part.startsWith('`') && part.endsWith('`')) out.push({ code: true, strong: false, text: part.slice(1, -1) })
    else if (part.length > 4 && part.startsWith('**') && part.endsWith('**')) out.push({ code: false, strong: true, text: plain(part.slice(2, -2)) })
    else out.push({ code: false, strong: false, text: plain(part) })
  }
  return out
}

const plain = (text: string): string => text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
