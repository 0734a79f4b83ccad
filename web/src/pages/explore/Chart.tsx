// Many lines over one time. Dragging chooses a shorter time; what the lines are stands in the table below.
import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef, useState, type PointerEvent } from 'react'
import { useTranslation } from 'react-i18next'
import type { EChartsType } from '../../charts/echarts'
import { momentAt } from '../../lib/brush'
import { clock } from '../../lib/format'
import { breakAtGaps } from '../../lib/series'
import type { Point } from '../../api/types'
import css from './explore.module.css'

export interface Drawn {
  key: string
  color: string
  points: Point[]
  /** Of the time before that it is compared with. */
  earlier?: boolean
}

interface Props {
  lines: Drawn[]
  from: number
  to: number
  onZoom: (from: number, to: number) => void
}

export function Chart({ lines, from, to, onZoom }: Props) {
  const { t } = useTranslation()
  const holder = useRef<HTMLDivElement>(null)
  const chart = useRef<EChartsType | null>(null)
  const [ready, setReady] = useState(false)
  const [drag, setDrag] = useState<{ begin: number; now: number } | null>(null)
  const scheme = useComputedColorScheme('light')

  useEffect(() => {
    let gone = false
    let watcher: ResizeObserver | null = null
    void import('../../charts/echarts').then(({ init }) => {
      if (gone || !holder.current) return
      const made = init(holder.current, null, { renderer: 'canvas' })
      watcher = new ResizeObserver(() => made.resize())
      watcher.observe(holder.current)
      chart.current = made
      setReady(true)
    })
    return () => {
      gone = true
      watcher?.disconnect()
      chart.current?.dispose()
      chart.current = null
    }
  }, [])

  useEffect(() => {
    if (!ready || !holder.current) return
    const style = getComputedStyle(holder.current)
    const color = (name: string) => style.getPropertyValue(`--${name}`).trim()
    const label = { color: color('dim'), fontFamily: style.fontFamily, fontSize: 11 }
    chart.current?.setOption({
      animation: false,
      grid: { left: 0, right: 0, top: 18, bottom: 20, containLabel: false, outerBoundsMode: 'none' },
      xAxis: { type: 'time', min: from, max: to, splitNumber: 4, axisLine: { lineStyle: { color: color('line') } }, axisTick: { show: false }, axisLabel: { ...label, hideOverlap: true, showMinLabel: false, showMaxLabel: false } },
      yAxis: { type: 'value', scale: true, splitNumber: 4, splitLine: { lineStyle: { color: color('grid') } }, axisLabel: { ...label, inside: true, margin: 0, verticalAlign: 'bottom', padding: [0, 0, 2, 2], textBorderColor: color('surface'), textBorderWidth: 2, formatter: (v: number) => v.toLocaleString('en', { notation: 'compact', maximumSignificantDigits: 3 }) }, z: 5 },
      series: lines.map((l) => ({
        id: l.key, type: 'line', data: breakAtGaps(l.points), showSymbol: l.points.length < 2, symbolSize: 5, connectNulls: false, silent: true,
        lineStyle: { width: l.earlier ? 1 : 1.5, type: l.earlier ? 'dashed' : 'solid', color: color(l.color), opacity: l.earlier ? 0.7 : 1 }, itemStyle: { color: color(l.color) }, emphasis: { disabled: true },
      })),
    }, { replaceMerge: ['series'] })
  }, [ready, scheme, lines, from, to])

  const at = (event: PointerEvent<HTMLDivElement>) => {
    const box = event.currentTarget.getBoundingClientRect()
    return momentAt(event.clientX - box.left, box.width, { from, to })
  }
  const end = () => {
    if (drag && Math.abs(drag.now - drag.begin) > (to - from) / 100) onZoom(Math.min(drag.begin, drag.now), Math.max(drag.begin, drag.now))
    setDrag(null)
  }
  const [a, b] = drag ? [Math.min(drag.begin, drag.now), Math.max(drag.begin, drag.now)] : [0, 0]
  return (
    <figure className={css.figure}>
      <div ref={holder} className={css.canvas} role="img" aria-label={t('explore.chart', { count: lines.length })} onPointerDown={(e) => {
        if (e.button !== 0 || e.pointerType === 'touch') return // a finger scrolls
        e.currentTarget.setPointerCapture(e.pointerId)
        const moment = at(e)
        setDrag({ begin: moment, now: moment })
      }} onPointerMove={(e) => drag && setDrag({ ...drag, now: at(e) })} onPointerUp={end} onPointerCancel={() => setDrag(null)} />
      {drag && (
        <svg className={css.brush} viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true">
          <rect x={((a - from) / (to - from)) * 1000} width={((b - a) / (to - from)) * 1000} height="1" />
        </svg>
      )}
      <figcaption className="dim">{drag ? `${clock(new Date(a), new Date(to))} – ${clock(new Date(b), new Date(to))}` : t('explore.dragHint')}</figcaption>
    </figure>
  )
}
