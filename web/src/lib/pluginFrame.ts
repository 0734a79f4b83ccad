// What the page and the frame with a plugin's own page say to each other. The frame has an origin of its own and may run
// scripts, so everything it says is hostile until it was read here; nothing but these two messages is.
import type { Series, SeriesAnswer } from '../api/types'
import { breakAtGaps } from './series'

/** More metrics than this are not read for a frame. */
export const maxFrameMetrics = 8

const leastHeight = 120
const mostHeight = 1200

export type FrameMessage = { type: 'ready' } | { type: 'size'; height: number }

export function readFrameMessage(data: unknown): FrameMessage | null {
  if (typeof data !== 'object' || data === null) return null
  const { type, height } = data as Record<string, unknown>
  if (type === 'picket.ready') return { type: 'ready' }
  if (type === 'picket.size' && typeof height === 'number' && Number.isFinite(height)) {
    return { type: 'size', height: Math.round(Math.max(leastHeight, Math.min(mostHeight, height))) }
  }
  return null
}

export interface FrameData {
  type: 'picket.data'
  theme: 'light' | 'dark'
  series: { metric: string; unit: string; labels: Record<string, string>; points: Series['points'] }[]
}

/** What the frame gets to see: the values of the plugin's own metrics, without who sent them. A null is a gap. */
export function frameData(theme: 'light' | 'dark', answers: readonly (SeriesAnswer | undefined)[]): FrameData {
  const series = answers.slice(0, maxFrameMetrics).flatMap((a) =>
    (a?.series ?? []).map((s) => ({ metric: a!.metric, unit: a!.unit, labels: s.labels, points: breakAtGaps(s.points) })),
  )
  return { type: 'picket.data', theme, series: series.filter((s) => s.points.length > 0) }
}
