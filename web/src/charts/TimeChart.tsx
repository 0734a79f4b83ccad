// One chart over time. The legend below is the tooltip: it shows the values under the pointer, or the latest. The
// arrow keys move the pointer, so the numbers can be had without a mouse and without seeing the lines. Dragging, or + and −,
// chooses a shorter time where the page can show one.
import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { momentAt } from '../lib/brush'
import { clock, quantity } from '../lib/format'
import { latest, valueAt, type Line } from '../lib/series'
import css from './charts.module.css'
import { paint } from './paint'

export interface ChartLine extends Line {
  /** One of c1 … c6 (base.css). */
  color: string
}

interface Props {
  title: string
  lines: ChartLine[]
  unit: string
  stacked?: boolean
  /** Top of the value axis; by itself when absent. */
  max?: number
  from: number
  to: number
  stepSeconds: number
  /** What stands in large figures; the first line's latest when absent. */
  headline?: { value: string; note?: string }
  /** The moment that all charts of the page point at. */
  at: number | null
  onPoint: (time: number | null) => void
  onZoom?: (from: number, to: number) => void
}

export function TimeChart(props: Props) {
  const { title, lines, unit, stacked, max, from, to, stepSeconds, headline, at, onPoint, onZoom } = props
  const { t } = useTranslation()
  const canvas = useRef<HTMLCanvasElement>(null)
  const [drag, setDrag] = useState<{ begin: number; now: number } | null>(null)
  const chosen = useMemo(() => (drag ? { from: Math.min(drag.begin, drag.now), to: Math.max(drag.begin, drag.now) } : null), [drag])
  const scheme = useComputedColorScheme('light')
  const draw = useRef(() => {})
  useEffect(() => {
    draw.current = () => canvas.current && paint(canvas.current, { lines, unit, stacked, max, from, to, at, chosen })
    draw.current()
  }, [scheme, lines, unit, stacked, max, from, to, at, chosen])
  useEffect(() => {
    const watcher = new ResizeObserver(() => draw.current())
    watcher.observe(canvas.current!)
    return () => watcher.disconnect()
  }, [])
  const reach = Math.max(stepSeconds, 15) * 1500

  const times = useMemo(
    () => [...new Set(lines.flatMap((l) => l.points.filter(([, v]) => v !== null).map(([time]) => time)))].toSorted((a, b) => a - b),
    [lines],
  )
  const onKey = (event: KeyboardEvent) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key]
    if (event.key === 'Escape') onPoint(null)
    if (onZoom && (event.key === '+' || event.key === '-')) {
      const half = ((to - from) / 2) * (event.key === '+' ? 0.5 : 2)
      const middle = at ?? (from + to) / 2
      onZoom(middle - half, Math.min(Date.now(), middle + half))
    }
    if (move === undefined || times.length === 0) return
    event.preventDefault()
    const here = at === null ? times.length - 1 : nearest(times, at)
    onPoint(times[Math.max(0, Math.min(times.length - 1, here + move))]!)
  }
  const under = (event: PointerEvent<HTMLDivElement>) => {
    const box = event.currentTarget.getBoundingClientRect()
    return momentAt(event.clientX - box.left, box.width, { from, to })
  }
  const begin = (event: PointerEvent<HTMLDivElement>) => {
    if (!onZoom || event.button !== 0 || event.pointerType === 'touch') return // a finger scrolls
    event.currentTarget.setPointerCapture(event.pointerId)
    setDrag({ begin: under(event), now: under(event) })
  }
  const follow = (event: PointerEvent<HTMLDivElement>) => {
    if (times.length > 0) onPoint(times[nearest(times, under(event))]!)
    if (drag) setDrag({ ...drag, now: under(event) })
  }
  const end = () => {
    if (chosen && chosen.to - chosen.from > (to - from) / 100) onZoom?.(chosen.from, chosen.to)
    setDrag(null)
  }

  const first = lines[0]
  const now = first ? latest(first.points) : null
  const large = headline ?? { value: now ? quantity(now[1], unit) : '–' }
  return (
    <figure className={css.chart}>
      <figcaption className={css.caption}>
        <span className={css.title}>{title} {at !== null && <time className={css.at}>{clock(new Date(at), new Date(to))}</time>}</span>
        <span className={css.large}>
          {large.value} {large.note && <small>{large.note}</small>}
        </span>
      </figcaption>
      <div className={css.canvas} role="slider" tabIndex={0} aria-label={t('chart.label', { title })}
        aria-valuemin={from} aria-valuemax={to} aria-valuenow={at ?? to}
        aria-valuetext={spoken(lines, unit, at ?? times.at(-1) ?? to, reach)} onKeyDown={onKey} onBlur={() => onPoint(null)}
        onPointerDown={begin} onPointerMove={follow} onPointerUp={end} onPointerCancel={() => setDrag(null)} onPointerLeave={() => onPoint(null)}>
        <canvas ref={canvas} />
      </div>
      <ul className={css.legend}>
        {lines.map((line) => {
          const value = at === null ? (latest(line.points)?.[1] ?? null) : valueAt(line.points, at, reach)
          return (
            <li key={line.name}>
              <i className={css.swatch} data-color={line.color} aria-hidden="true" />
              {line.name} <b className="num">{value === null ? '–' : quantity(value, unit)}</b>
            </li>
          )
        })}
      </ul>
    </figure>
  )
}

function spoken(lines: ChartLine[], unit: string, time: number, reach: number): string {
  const values = lines.map((l) => {
    const v = valueAt(l.points, time, reach)
    return `${l.name} ${v === null ? '–' : quantity(v, unit)}`
  })
  return `${new Date(time).toLocaleTimeString()}: ${values.join(', ')}`
}

function nearest(times: number[], at: number): number {
  let best = 0
  times.forEach((t, i) => {
    if (Math.abs(t - at) < Math.abs(times[best]! - at)) best = i
  })
  return best
}
