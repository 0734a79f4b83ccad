// What a plugin measures, ready for charts: any metric with any labels, so nothing here knows what they mean.
import type { Series } from '../api/types'
import { latest, type Line } from './series'

/** More lines than this cannot be told apart. */
export const mostLines = 5

/** One line for each series, named by the labels in which they differ; of many those that are highest now. */
export function linesOf(series: readonly Series[]): Line[] {
  const known = series.flatMap((s) => {
    const now = latest(s.points)
    return now ? [{ ...s, now: now[1] }] : []
  })
  const telling = tellingLabels(known)
  const names = new Set<string>()
  return known.toSorted((a, b) => b.now - a.now).slice(0, mostLines).map((s, n) => {
    const said = telling.flatMap((k) => s.labels[k] ?? []).join(' ')
    const name = names.has(said) ? `${said} (${n + 1})` : said // a chart knows its lines by their names
    names.add(name)
    return { name, points: s.points }
  })
}

function tellingLabels(series: readonly Series[]): string[] {
  const keys = new Set(series.flatMap((s) => Object.keys(s.labels)))
  return [...keys].filter((k) => new Set(series.map((s) => s.labels[k])).size > 1).toSorted()
}

/** How many series could be a line. */
export const countKnown = (series: readonly Series[]): number => series.filter((s) => latest(s.points)).length

/**
 * Metrics in the order in which charts show them: one of each family (system.cpu, system.disk) in turn, so that the first
 * few tell of everything, and limits last, because they hardly ever change.
 */
export function inTurn(metrics: readonly string[]): string[] {
  const turns = new Map<string, number>()
  const placed = metrics.map((metric) => {
    const family = metric.split('.').slice(0, 2).join('.')
    if (metric.endsWith('.limit')) return { metric, turn: Infinity }
    const turn = turns.get(family) ?? 0
    turns.set(family, turn + 1)
    return { metric, turn }
  })
  return placed.toSorted((a, b) => (a.turn === b.turn ? 0 : a.turn - b.turn)).map((p) => p.metric)
}

/** The unit of a counter's increase per second. */
export function rateUnit(unit: string): string {
  if (unit === 's') return '1' // seconds per second: a share of the time
  return unit === '' || unit === '1' ? '{1}/s' : `${unit}/s`
}
