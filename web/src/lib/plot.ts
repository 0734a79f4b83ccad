// Where the marks of a chart lie: moments on its time axis, and lines that stand on one another.
import type { Point } from '../api/types'

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour
const distances = [second, 5 * second, 15 * second, 30 * second, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 14 * day, 30 * day]

export interface Tick {
  time: number
  text: string
}

/** Round moments of the reader's own clock between two times, at most `most` of them. */
export function timeTicks(from: number, to: number, most: number): Tick[] {
  if (!(to > from) || most < 1) return []
  const distance = distances.find((d) => (to - from) / d <= most) ?? (to - from) / most
  const shift = -new Date(from).getTimezoneOffset() * minute
  const out: Tick[] = []
  for (let time = Math.ceil((from + shift) / distance) * distance - shift; time <= to; time += distance) out.push({ time, text: tickText(time, distance) })
  return out
}

function tickText(time: number, distance: number): string {
  const d = new Date(time)
  const two = (n: number) => String(n).padStart(2, '0')
  if (distance >= day || (distance >= 6 * hour && d.getHours() === 0)) return `${d.getDate()}.${d.getMonth() + 1}.`
  const ofDay = `${two(d.getHours())}:${two(d.getMinutes())}`
  return distance < minute ? `${ofDay}:${two(d.getSeconds())}` : ofDay
}

export interface Standing {
  time: number
  base: number
  /** null is a gap. */
  top: number | null
}

/** Each line on those before it; where one of them is missing, it counts as nothing. */
export function stack(lines: readonly (readonly Point[])[], stacked: boolean): Standing[][] {
  const sums = new Map<number, number>()
  return lines.map((points) =>
    points.map(([time, value]) => {
      const base = stacked ? (sums.get(time) ?? 0) : 0
      if (value === null) return { time, base, top: null }
      if (stacked) sums.set(time, base + value)
      return { time, base, top: base + value }
    }),
  )
}
