// One chart over time. The legend below is the tooltip: it shows the values under the pointer, or the latest. The
// arrow keys move the pointer, so the numbers can be had without a mouse and without seeing the lines.
import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useMemo, useRef, useState, type KeyboardEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { axisValue, clock, quantity } from '../lib/format'
import { breakAtGaps, latest, niceTop, sumBy, valueAt, type Line } from '../lib/series'
import css from './charts.module.css'
import type { EChartsType } from './echarts'

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
  /** Charts of one group move their pointers together; a page with two kinds of charts has two groups. */
  group?: 'host' | 'own'
  /** What stands in large figures; the first line's latest when absent. */
  headline?: { value: string; note?: string }
  /** The moment that all charts of the page point at. */
  at: number | null
  onPoint: (time: number | null) => void
}

export function TimeChart(props: Props) {
  const { title, lines, unit, from, to, stepSeconds, headline, at, onPoint } = props
  const { t } = useTranslation()
  const { holder, chart } = useChart(props)
  const reach = Math.max(stepSeconds, 15) * 1500

  const times = useMemo(
    () => [...new Set(lines.flatMap((l) => l.points.filter(([, v]) => v !== null).map(([time]) => time)))].toSorted((a, b) => a - b),
    [lines],
  )
  const onKey = (event: KeyboardEvent) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key]
    if (event.key === 'Escape') onPoint(null)
    if (move === undefined || times.length === 0) return
    event.preventDefault()
    const here = at === null ? times.length - 1 : nearest(times, at)
    const next = times[Math.max(0, Math.min(times.length - 1, here + move))]!
    onPoint(next)
    const x = chart.current?.convertToPixel({ xAxisIndex: 0 }, next)
    if (typeof x === 'number') chart.current?.dispatchAction({ type: 'updateAxisPointer', x, y: 40 })
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
      <div ref={holder} className={css.canvas} role="slider" tabIndex={0} aria-label={t('chart.label', { title })}
        aria-valuemin={from} aria-valuemax={to} aria-valuenow={at ?? to}
        aria-valuetext={spoken(lines, unit, at ?? times.at(-1) ?? to, reach)} onKeyDown={onKey} onBlur={() => onPoint(null)} />
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

/** Draws into the holder with ECharts, which is loaded when the first chart of the session appears. */
function useChart({ lines, unit, stacked, max, from, to, group = 'host', onPoint }: Props) {
  const holder = useRef<HTMLDivElement>(null)
  const empty = useRef<EChartsType | null>(null)
  /** Set once there is something drawn: before that ECharts cannot say where a moment lies. */
  const chart = useRef<EChartsType | null>(null)
  const [ready, setReady] = useState(false)
  const point = useRef(onPoint)
  useEffect(() => {
    point.current = onPoint
  })

  useEffect(() => {
    let gone = false
    let watcher: ResizeObserver | null = null
    void import('./echarts').then(({ init }) => {
      if (gone || !holder.current) return
      const made = init(holder.current, null, { renderer: 'canvas' })
      made.group = group
      made.on('updateAxisPointer', (event) => {
        const info = (event as { axesInfo?: { value: number }[] }).axesInfo?.[0]
        if (info) point.current(info.value)
      })
      made.getZr().on('globalout', () => point.current(null))
      watcher = new ResizeObserver(() => made.resize())
      watcher.observe(holder.current)
      empty.current = made
      setReady(true)
    })
    return () => {
      gone = true
      watcher?.disconnect()
      empty.current?.dispose()
      empty.current = null
      chart.current = null
    }
  }, [group])

  const scheme = useComputedColorScheme('light')
  useEffect(() => {
    if (!ready || !holder.current || !empty.current) return
    empty.current.setOption(option(holder.current, { lines, unit, stacked, max, from, to }), { replaceMerge: ['series'] })
    chart.current = empty.current
  }, [ready, scheme, lines, unit, stacked, max, from, to])

  return { holder, chart }
}

function option(holder: HTMLElement, p: Pick<Props, 'lines' | 'unit' | 'stacked' | 'max' | 'from' | 'to'>) {
  const style = getComputedStyle(holder)
  const color = (name: string) => style.getPropertyValue(`--${name}`).trim()
  const label = { color: color('dim'), fontFamily: style.fontFamily, fontSize: 11 }
  return {
    animation: false,
    grid: { left: 0, right: 2, top: 16, bottom: 18, containLabel: false, outerBoundsMode: 'none' },
    xAxis: {
      type: 'time',
      min: p.from,
      max: p.to,
      splitNumber: 4,
      axisPointer: { show: true, type: 'line', triggerTooltip: false, snap: true, lineStyle: { color: color('line-strong'), type: 'solid' }, label: { show: false } },
      axisLine: { lineStyle: { color: color('line') } },
      axisTick: { show: false },
      axisLabel: { ...label, hideOverlap: true, showMinLabel: false, showMaxLabel: false, formatter: (t: number) => tick(t, p.from, p.to) },
    },
    yAxis: {
      type: 'value',
      ...scale(p.lines, p.unit, p.stacked, p.max),
      splitLine: { lineStyle: { color: color('grid') } },
      axisLabel: { ...label, textBorderColor: color('surface'), textBorderWidth: 2, inside: true, margin: 0, verticalAlign: 'bottom', padding: [0, 0, 2, 2], formatter: (v: number) => (v === 0 ? '' : axisValue(v, p.unit)) },
      z: 5,
    },
    series: p.lines.map((line) => ({
      id: line.name,
      type: 'line',
      stack: p.stacked ? 'all' : undefined,
      data: breakAtGaps(line.points),
      showSymbol: line.points.filter(([, v]) => v !== null).length < 2,
      symbolSize: 5,
      connectNulls: false,
      lineStyle: { width: 1.6, color: color(line.color) },
      itemStyle: { color: color(line.color) },
      areaStyle: { color: color(line.color), opacity: p.stacked ? 0.28 : 0.08 },
      emphasis: { disabled: true },
    })),
  }
}

/** Two steps from 0 to a round top; as far below it where values are negative. */
function scale(lines: ChartLine[], unit: string, stacked: boolean | undefined, max: number | undefined) {
  const all = stacked ? sumBy(lines.map((l) => ({ labels: {}, points: l.points })), () => '') : lines
  const peak = Math.max(0, ...all.flatMap((l) => l.points.map(([, v]) => v ?? 0)))
  const low = Math.min(0, ...all.flatMap((l) => l.points.map(([, v]) => v ?? 0)))
  const top = max ?? niceTop(Math.max(peak, -low), unit.startsWith('By') ? 1024 : 1000)
  return low < 0 ? { min: -top, max: top, interval: top } : { min: 0, max: top, interval: top / 2 }
}

/** A label beside the edge would be cut off; one between two minutes would name the same minute twice. */
function tick(time: number, from: number, to: number): string {
  const span = to - from
  if (time - from < span * 0.04 || to - time < span * 0.05) return ''
  const d = new Date(time)
  if (d.getSeconds() !== 0) return ''
  const two = (n: number) => String(n).padStart(2, '0')
  return span > 36 * 3600_000 ? `${d.getDate()}.${d.getMonth() + 1}.` : `${two(d.getHours())}:${two(d.getMinutes())}`
}
