// Draws lines over a time on a canvas. A machine's charts are on the first page, which has no room for a library of charts.
import type { Point } from '../api/types'
import { axisValue } from '../lib/format'
import { stack, timeTicks, type Standing } from '../lib/plot'
import { breakAtGaps, niceTop, sumBy } from '../lib/series'

export interface Picture {
  lines: readonly { name: string; color: string; points: Point[] }[]
  unit: string
  stacked?: boolean
  /** Top of the value axis; by itself when absent. */
  max?: number
  from: number
  to: number
  /** The moment that is pointed at. */
  at: number | null
  /** What is being chosen with the pointer. */
  chosen: { from: number; to: number } | null
}

const above = 16
const below = 18

export function paint(canvas: HTMLCanvasElement, p: Picture) {
  const pen = canvas.getContext('2d')
  const width = canvas.clientWidth
  const height = canvas.clientHeight
  if (!pen || width === 0 || height === 0) return
  const dense = window.devicePixelRatio || 1
  canvas.width = Math.round(width * dense)
  canvas.height = Math.round(height * dense)
  pen.scale(dense, dense)

  const style = getComputedStyle(canvas)
  const color = (name: string) => style.getPropertyValue(`--${name}`)
  const floor = height - below
  const { low, top, step } = scale(p)
  const x = (time: number) => ((time - p.from) / (p.to - p.from)) * width
  const y = (value: number) => floor - ((value - low) / (top - low)) * (floor - above)
  pen.font = `11px ${style.fontFamily}`

  for (let value = low; value <= top + step / 2; value += step) across(pen, y(value), width, color(value === low ? 'line' : 'grid'))
  if (p.chosen) {
    pen.fillStyle = color('grid')
    pen.fillRect(x(p.chosen.from), above, x(p.chosen.to) - x(p.chosen.from), floor - above)
  }

  pen.save()
  pen.beginPath()
  pen.rect(0, 0, width, floor + 1)
  pen.clip()
  stack(p.lines.map((l) => breakAtGaps(l.points)), p.stacked ?? false).forEach((points, i) => {
    pen.strokeStyle = pen.fillStyle = color(p.lines[i]!.color)
    for (const run of runs(points)) {
      if (run.length === 1 && points.length === 1) dot(pen, x(run[0]!.time), y(run[0]!.top))
      pen.beginPath()
      run.forEach((s) => pen.lineTo(x(s.time), y(s.top)))
      pen.lineWidth = 1.6
      pen.lineJoin = 'round'
      pen.stroke()
      run.toReversed().forEach((s) => pen.lineTo(x(s.time), y(s.base)))
      pen.globalAlpha = p.stacked ? 0.28 : 0.08
      pen.fill()
      pen.globalAlpha = 1
    }
  })
  pen.restore()

  if (p.at !== null && p.at >= p.from && p.at <= p.to) {
    pen.fillStyle = color('line-strong')
    pen.fillRect(Math.round(x(p.at)), above, 1, floor - above)
  }
  words(pen, p, { x, y, width, height, low, top, step, ink: color('dim'), ground: color('surface') })
}

function across(pen: CanvasRenderingContext2D, y: number, width: number, color: string) {
  pen.fillStyle = color
  pen.fillRect(0, Math.round(y), width, 1)
}

function dot(pen: CanvasRenderingContext2D, x: number, y: number) {
  pen.beginPath()
  pen.arc(x, y, 2.5, 0, 2 * Math.PI)
  pen.fill()
}

type Known = Standing & { top: number }

/** The parts of a line between its gaps. */
function runs(points: readonly Standing[]): Known[][] {
  const out: Known[][] = []
  let open: Known[] | null = null
  for (const s of points) {
    if (s.top === null) open = null
    else if (open) open.push(s as Known)
    else out.push((open = [s as Known]))
  }
  return out
}

interface Places {
  x: (time: number) => number
  y: (value: number) => number
  width: number
  height: number
  low: number
  top: number
  step: number
  ink: string
  ground: string
}

/** Values stand on their lines, within the picture; moments below it, none where it would be cut off. */
function words(pen: CanvasRenderingContext2D, p: Picture, { x, y, width, height, low, top, step, ink, ground }: Places) {
  pen.fillStyle = ink
  pen.strokeStyle = ground
  pen.lineWidth = 3
  for (let value = low; value <= top + step / 2; value += step) {
    if (value === 0) continue
    const text = axisValue(value, p.unit)
    pen.strokeText(text, 2, y(value) - 3)
    pen.fillText(text, 2, y(value) - 3)
  }
  pen.textAlign = 'center'
  for (const { time, text } of timeTicks(p.from, p.to, Math.min(6, width / 70))) {
    const half = pen.measureText(text).width / 2
    if (x(time) >= half && x(time) <= width - half) pen.fillText(text, x(time), height - 5)
  }
}

/** Two steps from 0 to a round top; as far below it where values are negative. */
function scale(p: Picture): { low: number; top: number; step: number } {
  const all = p.stacked ? sumBy(p.lines.map((l) => ({ labels: {}, points: l.points })), () => '') : p.lines
  let peak = 0
  let least = 0
  for (const line of all) {
    for (const [, v] of line.points) {
      peak = Math.max(peak, v ?? 0)
      least = Math.min(least, v ?? 0)
    }
  }
  const top = p.max ?? niceTop(Math.max(peak, -least), p.unit.startsWith('By') ? 1024 : 1000)
  return least < 0 ? { low: -top, top, step: top } : { low: 0, top, step: top / 2 }
}
