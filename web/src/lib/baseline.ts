// Where a value lies in what is usual: the geometry of a small box chart.

/** How a feature is spread among flows of the same kind. */
export interface Spread {
  p5: number
  p50: number
  p95: number
  mean?: number
}

export interface Box {
  /** Places from 0 to 1 on the line. */
  low: number
  middle: number
  high: number
  value: number
  /** The axis is logarithmic. */
  log: boolean
}

export type Standing = 'low' | 'usual' | 'high'

/** Beyond the middle nine tenths of what is usual. */
export function standing(value: number, { p5, p95 }: Spread): Standing {
  return value < p5 ? 'low' : value > p95 ? 'high' : 'usual'
}

/** Places on a line from the least to the most of all four; logarithmic when they are of very different sizes. */
export function boxOf(value: number, { p5, p50, p95 }: Spread): Box | null {
  const all = [value, p5, p50, p95]
  if (!all.every(Number.isFinite)) return null
  const least = Math.min(...all)
  const most = Math.max(...all)
  if (least === most) return { low: 0.5, middle: 0.5, high: 0.5, value: 0.5, log: false }
  const smallest = Math.min(...all.filter((v) => v > 0))
  const log = least >= 0 && most / smallest > 100
  // Zero has no logarithm: it stands where a tenth of the smallest would.
  const scale = (v: number) => (log ? Math.log10(Math.max(v, smallest / 10)) : v)
  const [from, to] = [scale(least), scale(most)]
  // A little room on both sides, so that a mark at the end is seen whole.
  const place = (v: number) => 0.04 + 0.92 * ((scale(v) - from) / (to - from))
  return { low: place(p5), middle: place(p50), high: place(p95), value: place(value), log }
}
