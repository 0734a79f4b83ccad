// What the explore page makes of queries in PromQL and their answers. No page, no clock.
import type { Point } from '../api/types'

export const matchers = ['=', '!=', '=~', '!~'] as const
export type Matcher = (typeof matchers)[number]

export interface Filter {
  label: string
  is: Matcher
  value: string
}

/** What is done with each series over a window. */
export const windowed = ['rate', 'increase', 'avg_over_time', 'max_over_time', 'min_over_time', 'sum_over_time', 'delta'] as const
/** What is made of several series. */
export const together = ['sum', 'avg', 'max', 'min', 'count', 'topk', 'bottomk', 'quantile'] as const

export interface Built {
  metric: string
  filters: Filter[]
  over: (typeof windowed)[number] | ''
  window: string
  of: (typeof together)[number] | ''
  by: string[]
  /** How many of topk, which of quantile. */
  which: string
}

export const nothing: Built = { metric: '', filters: [], over: '', window: '5m', of: '', by: [], which: '' }

const quoted = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
const plain = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/

/** The expression that a built query stands for; '' when it is none yet. */
export function promqlOf(b: Built): string {
  if (!b.metric) return ''
  const filters = b.filters.filter((f) => f.label).map((f) => `${plain.test(f.label) ? f.label : quoted(f.label)}${f.is}${quoted(f.value)}`)
  if (!plain.test(b.metric)) filters.unshift(quoted(b.metric))
  let text = (plain.test(b.metric) ? b.metric : '') + (filters.length > 0 ? `{${filters.join(', ')}}` : '')
  if (b.over) text = `${b.over}(${text}[${b.window || '5m'}])`
  if (!b.of) return text
  const by = b.by.length > 0 ? ` by (${b.by.join(', ')})` : ''
  const which = b.of === 'topk' || b.of === 'bottomk' ? `${Number.parseInt(b.which, 10) || 5}, ` : b.of === 'quantile' ? `${Number.parseFloat(b.which) || 0.95}, ` : ''
  return `${b.of}${by} (${which}${text})`
}

export interface Labelled {
  metric: Record<string, string>
  points: Point[]
}

interface Matrix {
  resultType: string
  result: unknown
}

/** The lines of an answer of query_range. Values that are no number are not known. */
export function linesOf(data: Matrix): Labelled[] {
  if (data.resultType !== 'matrix' || !Array.isArray(data.result)) return []
  return (data.result as { metric: Record<string, string>; values: [number, string][] }[]).map((s) => ({
    metric: s.metric,
    points: s.values.map(([at, text]) => {
      const value = Number(text)
      return [Math.round(at * 1000), Number.isFinite(value) ? value : null]
    }),
  }))
}

/** A series as Prometheus writes it: name{label="value"}. */
export function nameOf(metric: Record<string, string>): string {
  const { __name__: name = '', ...labels } = metric
  const inside = Object.entries(labels).map(([k, v]) => `${k}=${quoted(v)}`)
  if (inside.length === 0) return name || '{}'
  return `${name}{${inside.join(', ')}}`
}

/** What all of several series have in common, their name left out: none of it tells one from another. */
export function commonLabels(metrics: readonly Record<string, string>[]): Record<string, string> {
  const [first, ...rest] = metrics
  if (!first || rest.length === 0) return {}
  return Object.fromEntries(Object.entries(first).filter(([k, v]) => k !== '__name__' && rest.every((m) => m[k] === v)))
}

/** A series as it is told from others that have these labels too. */
export const shortNameOf = (metric: Record<string, string>, common: Record<string, string>): string =>
  nameOf(Object.fromEntries(Object.entries(metric).filter(([k]) => !Object.hasOwn(common, k))))

/** Where in the query an error is, as the engine says it: "1:5: parse error: …". */
export function placeOf(message: string): { line: number; column: number; text: string } | null {
  const found = /(?:^|\s|: )(\d+):(\d+): (?:parse error: )?(.*)$/s.exec(message)
  return found ? { line: Number(found[1]), column: Number(found[2]), text: found[3]! } : null
}

/** The query with the place of an error marked below it, for people who do not see underlines. */
export function markedPlace(query: string, line: number, column: number): string {
  const text = query.split('\n')[line - 1] ?? ''
  return `${text}\n${' '.repeat(Math.max(0, column - 1))}^`
}

const cell = (value: unknown): string => {
  const text = value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean)
  // A sheet would run what begins like a formula.
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** Comma-separated values, RFC 4180. */
export const csvOf = (head: readonly string[], rows: readonly (readonly unknown[])[]): string =>
  [head, ...rows].map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n'

/** The steps that are taken when none is asked for: about 240 points, and never more than the server gives. */
export function stepSeconds(from: number, to: number): number {
  const span = Math.max(1, (to - from) / 1000)
  const nice = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400]
  return nice.find((s) => s >= span / 240) ?? Math.ceil(span / 240 / 86_400) * 86_400
}

/** "90m" in seconds; null when it is none. */
export function secondsOf(text: string): number | null {
  const found = /^(\d+)([smhdw])$/.exec(text)
  return found ? Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[found[2] as 's' | 'm' | 'h' | 'd' | 'w'] : null
}

/** Days until so much is used up at this rate per day; null when it does not grow. */
export function fullInDays(free: number, growthPerDay: number): number | null {
  return growthPerDay > 0 && free > 0 ? free / growthPerDay : null
}
