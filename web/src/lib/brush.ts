// A range on a time line: between the pointer and time, between keys and time, and the buckets that it holds.

export interface Bucket {
  /** Unix milliseconds at which it begins. */
  time: number
  value: number
}

export interface Range {
  from: number
  to: number
}

/** The moment at x of a line that is width wide; never outside the range. */
export function momentAt(x: number, width: number, { from, to }: Range): number {
  const part = width > 0 ? Math.max(0, Math.min(1, x / width)) : 0
  return from + part * (to - from)
}

/** The part of the line from 0 to 1. */
export function partOf(time: number, { from, to }: Range): number {
  return to > from ? Math.max(0, Math.min(1, (time - from) / (to - from))) : 0
}

/** Two ends in either order, as whole buckets; null when nothing was dragged. */
export function brushed(a: number, b: number, step: number, whole: Range): Range | null {
  const [low, high] = a < b ? [a, b] : [b, a]
  if (high - low < step / 4) return null
  const from = Math.max(whole.from, whole.from + Math.floor((low - whole.from) / step) * step)
  const to = Math.min(whole.to, whole.from + Math.ceil((high - whole.from) / step) * step)
  return from < to ? { from: Math.round(from), to: Math.round(to) } : null
}

/** One end of the range moved by a key; the ends keep at least one step between them. */
export function moved(range: Range, end: 'from' | 'to', key: string, step: number, whole: Range): Range | null {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[key]
  if (by === undefined) return null
  const [low, high] = end === 'from' ? [whole.from, range.to - step] : [range.from + step, whole.to]
  return { ...range, [end]: Math.max(low, Math.min(high, range[end] + by * step)) }
}

/** The length of a bucket: the smallest distance between two of them. */
export function stepOf(buckets: readonly Bucket[], whole: Range): number {
  const gaps = buckets.slice(1).map((b, i) => b.time - buckets[i]!.time).filter((g) => g > 0)
  return gaps.length > 0 ? Math.min(...gaps) : Math.max(1, whole.to - whole.from)
}

export const sumIn = (buckets: readonly Bucket[], { from, to }: Range): number =>
  buckets.reduce((sum, b) => (b.time >= from && b.time < to ? sum + b.value : sum), 0)
