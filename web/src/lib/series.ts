// Series maths: what lies between the answer of /api/v1/series and a chart. Missing stays missing (null), never 0.
import type { Point, Series, SeriesAnswer } from '../api/types'

export interface Line {
  name: string
  points: Point[]
}

/**
 * Joins a fresh answer to what is already shown, so that a live chart asks only for its last minutes. Fresh points
 * replace old ones of the same time; what lies before `from` is dropped.
 */
export function merge(old: SeriesAnswer | undefined, fresh: SeriesAnswer, from: number): SeriesAnswer {
  if (!old || old.step_seconds !== fresh.step_seconds) return { ...fresh, series: fresh.series.map((s) => trim(s, from)) }
  const byKey = new Map(old.series.map((s) => [seriesKey(s), s]))
  for (const s of fresh.series) {
    const key = seriesKey(s)
    byKey.set(key, { ...s, points: mergePoints(byKey.get(key)?.points ?? [], s.points) })
  }
  const series = [...byKey.values()].map((s) => trim(s, from)).filter((s) => s.points.length > 0)
  return { ...fresh, series }
}

function mergePoints(old: Point[], fresh: Point[]): Point[] {
  const first = fresh[0]
  if (!first) return old
  // Within the window that was asked again the new answer is the truth, holes included.
  return [...old.filter(([t]) => t < first[0]), ...fresh]
}

const trim = (s: Series, from: number): Series => ({ ...s, points: s.points.filter(([t]) => t >= from) })

function seriesKey(s: Series): string {
  return JSON.stringify([s.agent, Object.entries(s.labels).toSorted(([a], [b]) => (a < b ? -1 : 1))])
}

/** The time from which a refresh has to ask again: the last points may have been incomplete when they were read. */
export function refreshFrom(old: SeriesAnswer | undefined, from: number): number {
  if (!old) return from
  const last = Math.max(...old.series.map((s) => s.points.findLast(([, v]) => v !== null)?.[0] ?? 0), 0)
  return Math.max(from, last - 3 * old.step_seconds * 1000)
}

/** Adds up series that share the value of a label, for example all CPUs by mode. A sum of nothing is null. */
export function sumBy(series: readonly Series[], label: (labels: Record<string, string>) => string): Line[] {
  const groups = new Map<string, Map<number, number | null>>()
  for (const s of series) {
    const name = label(s.labels)
    const sums = groups.get(name) ?? new Map<number, number | null>()
    groups.set(name, sums)
    for (const [t, v] of s.points) {
      const sum = sums.get(t) ?? null
      sums.set(t, v === null ? sum : (sum ?? 0) + v)
    }
  }
  return [...groups].map(([name, sums]) => ({ name, points: [...sums].toSorted(([a], [b]) => a - b) }))
}

/** Each line as its part of the sum of all, 0 to 1. Where the sum is 0 or unknown, so is the part. */
export function shares(lines: readonly Line[]): Line[] {
  const totals = new Map<number, number>()
  for (const line of lines) for (const [t, v] of line.points) if (v !== null) totals.set(t, (totals.get(t) ?? 0) + v)
  return lines.map((line) => ({
    name: line.name,
    points: line.points.map(([t, v]) => {
      const total = totals.get(t)
      return [t, v === null || !total ? null : v / total]
    }),
  }))
}

/**
 * Drops empty slots that only exist because the step is finer than the data, and keeps one null where data is really
 * missing, so that the line breaks there: longer than 2.5 times its usual distance.
 */
export function breakAtGaps(points: readonly Point[]): Point[] {
  const known = points.filter(([, v]) => v !== null)
  const usual = median(known.slice(1).map(([t], i) => t - known[i]![0]))
  if (usual === null) return [...known]
  const out: Point[] = []
  for (const point of known) {
    const last = out.at(-1)
    if (last && point[0] - last[0] > 2.5 * usual) out.push([last[0] + usual, null])
    out.push(point)
  }
  return out
}

function median(values: number[]): number | null {
  if (values.length === 0) return null
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]! // the lower of two: a gap is no rhythm
}

/** The last known value, and when. */
export function latest(points: readonly Point[]): [time: number, value: number] | null {
  const point = points.findLast(([, v]) => v !== null)
  return point ? [point[0], point[1] as number] : null
}

/** The value at a time, or of the nearest point within reach. */
export function valueAt(points: readonly Point[], time: number, reach: number): number | null {
  let best: Point | null = null
  for (const point of points) {
    if (point[1] === null || Math.abs(point[0] - time) > reach) continue
    if (!best || Math.abs(point[0] - time) < Math.abs(best[0] - time)) best = point
  }
  return best?.[1] ?? null
}

/** A round step that gives about `points` points and is never finer than the finest collection. */
export function stepFor(rangeSeconds: number, points = 240): number {
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400]
  return steps.find((s) => s >= rangeSeconds / points) ?? 86400
}

/**
 * Where a chart begins: at the range's start, or later when there is nothing before. A machine that reports since a
 * minute fills the chart instead of a corner of it; two minutes are the least, so that little does not look like much.
 */
export function windowStart(series: readonly Series[], from: number, to: number): number {
  const firsts = series.map((s) => s.points.find(([, v]) => v !== null)?.[0]).filter((t) => t !== undefined)
  if (firsts.length === 0) return from
  return Math.max(from, Math.min(Math.min(...firsts), to - 120_000))
}

/** The round number at or above a peak, in units of the base: 9.3 MiB → 10 MiB. */
export function niceTop(peak: number, base: number): number {
  if (!(peak > 0)) return 1
  const unit = base ** Math.floor(Math.log(peak) / Math.log(base))
  const steps = [1, 2, 4, 5, 8, 10, 20, 40, 50, 80, 100, 200, 400, 500, 800, base]
  return unit * (steps.find((s) => s >= peak / unit) ?? base)
}
