// A file of custom rules as text: which rules stand where in it, and single parts of them. The server says what is right; this only
// finds the lines, and leaves alone what is not written in lines.

export interface RuleLines {
  id: string
  title: string
  on: string
  severity: string
  enabled: boolean
  techniques: string[]
  /** Its first line, and the one behind its last, from 0. */
  from: number
  to: number
}

export const fileHead = 'version: 1\nrules:\n'

const item = /^(\s*)-(\s+)\S/

/** The rules in a file; null when they are not written as a list of lines. */
export function outline(text: string): RuleLines[] | null {
  const lines = text.split('\n')
  const head = lines.findIndex((l) => /^rules:/.test(l))
  if (head < 0) return text.trim() === '' ? [] : null
  const rest = lines[head]!.slice('rules:'.length).replace(/\s#.*/, '').trim()
  if (rest !== '') return rest === '[]' ? [] : null
  const out: RuleLines[] = []
  let indent = -1
  const close = (at: number) => {
    const last = out.at(-1)
    if (last && last.to < 0) {
      let to = at
      while (to > last.from + 1 && lines[to - 1]!.trim() === '') to--
      Object.assign(last, partsOf(lines.slice(last.from, to)), { to })
    }
  }
  for (let i = head + 1; i < lines.length; i++) {
    const line = lines[i]!
    if (line.trim() === '' || /^\s*#/.test(line)) continue
    const begins = item.exec(line)
    const depth = line.length - line.trimStart().length
    if (indent < 0) {
      if (!begins) return null
      indent = depth
    }
    if (begins && depth === indent) {
      close(i)
      out.push({ id: '', title: '', on: '', severity: 'medium', enabled: true, techniques: [], from: i, to: -1 })
    } else if (depth <= indent) {
      close(i)
      return out // the list is over
    }
  }
  close(lines.length)
  return out
}

/** The lines of one rule without the dash: where its keys begin, and each with its value as it is written. */
function keysOf(lines: string[]): { indent: number; keys: Map<string, { line: number; value: string }> } {
  const first = item.exec(lines[0] ?? '')
  const indent = first ? first[1]!.length + 1 + first[2]!.length : 0
  const keys = new Map<string, { line: number; value: string }>()
  lines.forEach((line, i) => {
    const at = i === 0 ? ' '.repeat(indent) + line.slice(indent) : line
    const key = /^(\s*)([a-z_]+):(?:\s+(.*))?$/.exec(at)
    if (key && key[1]!.length === indent && !keys.has(key[2]!)) keys.set(key[2]!, { line: i, value: key[3] ?? '' })
  })
  return { indent, keys }
}

/** A value that stands in one line, without quotes; undefined for what goes on below. */
export function scalar(written: string): string | undefined {
  const text = written.trim()
  if (text.startsWith('"')) {
    const end = /^"(?:[^"\\]|\\.)*"/.exec(text)
    try {
      return end ? (JSON.parse(end[0]) as string) : undefined
    } catch {
      return undefined
    }
  }
  if (text.startsWith("'")) return /^'((?:[^']|'')*)'/.exec(text)?.[1]?.replaceAll("''", "'")
  if (/^[|>[{&*!]/.test(text)) return undefined
  return text.replace(/\s+#.*$/, '')
}

function partsOf(lines: string[]): Pick<RuleLines, 'id' | 'title' | 'on' | 'severity' | 'enabled' | 'techniques'> {
  const { keys } = keysOf(lines)
  const value = (name: string) => scalar(keys.get(name)?.value ?? '') ?? ''
  return {
    id: value('id'),
    title: value('title'),
    on: value('on'),
    severity: value('severity') || 'medium',
    enabled: value('enabled') !== 'false',
    techniques: (/^\[([^\]]*)\]/.exec(keys.get('techniques')?.value.trim() ?? '')?.[1] ?? '').split(',').map((t) => scalar(t) ?? '').filter(Boolean),
  }
}

/** One rule as a file of its own, which the command reads, too. */
export function fileOf(text: string, rule: RuleLines): string {
  return fileHead + text.split('\n').slice(rule.from, rule.to).join('\n') + '\n'
}

/** The file with other rules in place of one, or behind all when there is none. own is a file, as fileOf makes it; null: it cannot be put in. */
export function withRules(text: string, rule: RuleLines | undefined, own: string): string | null {
  const inside = outline(own)
  const known = outline(text)
  if (inside === null || known === null || (inside.length === 0 && own.trim() !== '')) return null
  if (known.length === 0) return own
  const ownLines = own.split('\n')
  const width = (lines: string[], at: number) => lines[at]!.length - lines[at]!.trimStart().length
  const lines = text.split('\n')
  const shift = width(lines, known[0]!.from) - (inside[0] ? width(ownLines, inside[0].from) : 0)
  const put = inside[0] ? ownLines.slice(inside[0].from, inside.at(-1)!.to).map((l) => moved(l, shift)) : []
  const last = known.at(-1)!.to
  const [from, to] = rule ? [rule.from, rule.to] : [last, last]
  const left = [...lines.slice(0, from), ...put, ...lines.slice(to)].join('\n')
  return left.endsWith('\n') ? left : `${left}\n`
}

const moved = (line: string, by: number) => (by >= 0 ? (line === '' ? '' : ' '.repeat(by) + line) : line.replace(new RegExp(`^ {0,${-by}}`), ''))

/** The file without one rule. */
export function without(text: string, rule: RuleLines): string {
  const lines = text.split('\n')
  const left = [...lines.slice(0, rule.from), ...lines.slice(rule.to)].join('\n')
  return outline(left)?.length ? left : fileHead.replace('rules:', 'rules: []')
}

const order = ['id', 'title', 'enabled', 'severity', 'confidence', 'techniques', 'on', 'when', 'count', 'samples']

/** The text with another value for a part of a rule that stands in one line; the text itself when it does not. "" takes the part out. */
export function withPart(text: string, rule: RuleLines, name: string, value: string): string {
  const lines = text.split('\n')
  const { indent, keys } = keysOf(lines.slice(rule.from, rule.to))
  const had = keys.get(name)
  if (had) {
    const at = rule.from + had.line
    const flow = name === 'techniques' && /^\[[^\]]*\]\s*$/.test(had.value.trim())
    if (!flow && scalar(had.value) === undefined) return text
    if (value === '') {
      if (had.line > 0) lines.splice(at, 1)
      return lines.join('\n')
    }
    const before = lines[at]!.slice(0, lines[at]!.indexOf(`${name}:`))
    lines[at] = `${before}${name}: ${value}`
    return lines.join('\n')
  }
  if (value === '') return text
  // behind the last part that usually stands before it
  const earlier = order.slice(0, order.indexOf(name)).flatMap((k) => (keys.has(k) ? [keys.get(k)!.line] : []))
  const after = Math.max(0, ...earlier)
  let next = rule.from + after + 1
  while (next < rule.to && (lines[next]!.trim() === '' || lines[next]!.length - lines[next]!.trimStart().length > indent)) next++
  lines.splice(next, 0, `${' '.repeat(indent)}${name}: ${value}`)
  return lines.join('\n')
}

/** A text as YAML takes it in any case. */
export const quoted = (text: string) => JSON.stringify(text)

/** Where a line and column lie in a text. */
export function offsetOf(text: string, line: number, column: number): number {
  const lines = text.split('\n')
  const before = lines.slice(0, Math.max(0, line - 1)).reduce((sum, l) => sum + l.length + 1, 0)
  return Math.min(text.length, before + Math.min(Math.max(0, column - 1), lines[line - 1]?.length ?? 0))
}

export function placeOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split('\n')
  return { line: before.length, column: before.at(-1)!.length + 1 }
}

export interface DiffLine {
  sign: ' ' | '+' | '-'
  text: string
}

/** How one text becomes another, line by line, with a few lines around each change; null stands for what is left out. */
export function diff(before: string, after: string, around = 2): (DiffLine | null)[] {
  const a = before.split('\n')
  const b = after.split('\n')
  let head = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  let tail = 0
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
  const x = a.slice(head, a.length - tail)
  const y = b.slice(head, b.length - tail)
  const all: DiffLine[] = [...a.slice(0, head).map(same), ...between(x, y), ...a.slice(a.length - tail).map(same)]
  const shown = new Set<number>()
  all.forEach((l, i) => {
    if (l.sign !== ' ') for (let n = i - around; n <= i + around; n++) shown.add(n)
  })
  const out: (DiffLine | null)[] = []
  all.forEach((l, i) => {
    if (shown.has(i)) out.push(l)
    else if (out.length > 0 && out.at(-1) !== null) out.push(null)
  })
  if (out.at(-1) === null) out.pop()
  return out
}

const same = (text: string): DiffLine => ({ sign: ' ', text })

/** The longest common subsequence, unless both are so long that nobody would read it. */
function between(x: string[], y: string[]): DiffLine[] {
  if (x.length * y.length > 4_000_000) return [...x.map((text): DiffLine => ({ sign: '-', text })), ...y.map((text): DiffLine => ({ sign: '+', text }))]
  const width = y.length + 1
  const long = new Uint32Array((x.length + 1) * width)
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      long[i * width + j] = x[i] === y[j] ? long[(i + 1) * width + j + 1]! + 1 : Math.max(long[(i + 1) * width + j]!, long[i * width + j + 1]!)
    }
  }
  const out: DiffLine[] = []
  let i = 0
  let j = 0
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      out.push(same(x[i]!))
      i++
      j++
    } else if (j === y.length || (i < x.length && long[(i + 1) * width + j]! >= long[i * width + j + 1]!)) {
      out.push({ sign: '-', text: x[i++]! })
    } else {
      out.push({ sign: '+', text: y[j++]! })
    }
  }
  return out
}

/** How many samples a rule has, as far as they are written in one of the usual forms. */
export function samplesOf(text: string, rule: RuleLines): { fires: number; silent: number } {
  const lines = text.split('\n').slice(rule.from, rule.to).join('\n')
  const block = /\n(\s*)samples:([\s\S]*)$/.exec(lines)?.[2] ?? ''
  const part = (name: string) => {
    const rest = new RegExp(`(?:^|[\\s{,])${name}: *\n?([\\s\\S]*)`).exec(block)?.[1] ?? ''
    if (!rest.startsWith('[')) {
      const own = rest.split(/\n\s*(?:fires|silent):/)[0]!.split('\n')
      const depth = own.find((l) => l.trimStart().startsWith('- '))?.search(/\S/)
      return own.filter((l) => l.search(/\S/) === depth && l.trimStart().startsWith('- ')).length
    }
    let depth = 0
    let n = 0
    for (const c of rest) {
      if (c === '[' || c === '{') {
        depth++
        if (c === '{' && depth === 2) n++
      } else if (c === ']' || c === '}') {
        depth--
        if (depth === 0) break
      }
    }
    return n
  }
  return { fires: part('fires'), silent: part('silent') }
}

/** What the plugin says of single rules in the reason of its state: which are left out or switched off, and why. */
export function saidOf(reason: string | undefined, id: string): { off: boolean; left: string } {
  const text = reason ?? ''
  const left = [...text.matchAll(/^(?:.*?: )?[^\n:]*:(\d+):(\d+): rule ([a-z0-9-]+): (.*)$/gm)].filter((m) => m[3] === id).map((m) => `${m[1]}:${m[2]}: ${m[4]}`)
  return { off: new RegExp(`rule ${id} cost too much`).test(text), left: left.join('\n') }
}
