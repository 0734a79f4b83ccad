// Traffic over time. Dragging over it chooses a range; so do the two ends with the arrow keys.
import { Button, SegmentedControl } from '@mantine/core'
import { useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react'
import { useTranslation } from 'react-i18next'
import type { FlowSummary } from '../../api/traffic'
import { brushed, momentAt, moved, partOf, stepOf, sumIn, type Bucket, type Range } from '../../lib/brush'
import { bytes, clock, count, duration, second } from '../../lib/format'
import { Panel } from '../../ui/Page'
import type { Exploring } from './Flows'
import css from './flows.module.css'

type Measure = 'bytes' | 'flows'

export function Timeline({ summary: s, address, change }: Exploring & { summary: FlowSummary }) {
  const { t } = useTranslation()
  const [by, setBy] = useState<Measure>('bytes')
  const buckets = useMemo(() => s.times.map((b): Bucket => ({ time: Date.parse(b.time), value: b[by] })), [s.times, by])
  const whole = useMemo(() => wholeOf(s, buckets), [s, buckets])
  const step = s.step_seconds > 0 ? s.step_seconds * 1000 : stepOf(buckets, whole)
  const narrowed = address.from !== undefined || address.to !== undefined
  return (
    <Panel title={t('traffic.time.title')}
      hint={<span className="num">{t('traffic.flows.total', { count: s.flows, n: count(s.flows) })} · {t('traffic.flows.totals', { bytes: bytes(s.bytes), packets: count(s.packets) })}</span>}
      actions={
        <>
          {narrowed && <Button variant="default" size="xs" onClick={() => change({ from: undefined, to: undefined })}>{t('traffic.time.whole')}</Button>}
          <SegmentedControl size="xs" aria-label={t('traffic.charts.by')} value={by} onChange={(v) => setBy(v as Measure)}
            data={[{ value: 'bytes', label: t('traffic.charts.bytes') }, { value: 'flows', label: t('traffic.charts.flowsUnit') }]} />
        </>
      }>
      {/* Another range has its ends at its own edges. */}
      <Brush key={`${whole.from} ${whole.to}`} buckets={buckets} whole={whole} step={step} said={by === 'bytes' ? bytes : count} onRange={change} />
    </Panel>
  )
}

/** From the first flow to the end of the last bucket: what an axis needs. */
function wholeOf(s: FlowSummary, buckets: Bucket[]): Range {
  const first = buckets[0]?.time ?? (s.first ? Date.parse(s.first) : 0)
  const last = buckets.at(-1)?.time ?? first
  return { from: first, to: last + Math.max(1, s.step_seconds * 1000) }
}

interface BrushProps {
  buckets: Bucket[]
  whole: Range
  step: number
  said: (value: number) => string
  onRange: (range: Range) => void
}

function Brush({ buckets, whole, step, said, onRange }: BrushProps) {
  const { t } = useTranslation()
  const line = useRef<HTMLDivElement>(null)
  const [drag, setDrag] = useState<{ a: number; b: number } | null>(null)
  const [range, setRange] = useState<Range>(whole)
  const most = Math.max(1, ...buckets.map((b) => b.value))
  const at = (e: PointerEvent) => {
    const box = line.current!.getBoundingClientRect()
    return momentAt(e.clientX - box.left, box.width, whole)
  }
  const finish = () => {
    const wanted = drag && brushed(drag.a, drag.b, step, whole)
    setDrag(null)
    if (wanted) onRange(wanted)
  }
  const shown = drag ? (brushed(drag.a, drag.b, step, whole) ?? whole) : range
  const chosen = range.from > whole.from || range.to < whole.to
  const width = Math.max(0.0008, step / (whole.to - whole.from))
  return (
    <>
      <div ref={line} className={css.brush}
        onPointerDown={(e) => {
          if (e.button !== 0 || (e.target as HTMLElement).role === 'slider') return
          e.currentTarget.setPointerCapture(e.pointerId)
          setDrag({ a: at(e), b: at(e) })
        }}
        onPointerMove={(e) => drag && setDrag({ ...drag, b: at(e) })}
        onPointerUp={finish}
        onPointerCancel={() => setDrag(null)}>
        <svg className={css.bars} viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">
          {buckets.map((b) => {
            const height = b.value > 0 ? Math.max(1.5, (b.value / most) * 96) : 0
            return <rect key={b.time} x={partOf(b.time, whole) * 1000} width={Math.max(0.8, width * 1000 * 0.86)} y={100 - height} height={height} />
          })}
        </svg>
        <span className={css.outside} style={{ left: 0, width: `${partOf(shown.from, whole) * 100}%` }} />
        <span className={css.outside} style={{ left: `${partOf(shown.to, whole) * 100}%`, right: 0 }} />
        {(['from', 'to'] as const).map((end) => (
          <Handle key={end} end={end} range={shown} whole={whole} step={step} said={said(sumIn(buckets, shown))} onMove={setRange} onEnter={() => chosen && onRange(range)} />
        ))}
      </div>
      <div className={css.axis}>
        <span>{label(shown.from, whole)}</span>
        <span className={css.mid}>
          {chosen && !drag
            ? <Button size="compact-xs" variant="default" onClick={() => onRange({ from: Math.round(range.from), to: Math.round(range.to) })}>{t('traffic.time.narrow')}</Button>
            : <>{t('traffic.time.hint')} {t('traffic.time.step', { step: duration(step / 1000) })}</>}
        </span>
        <span>{label(shown.to, whole)}</span>
      </div>
    </>
  )
}

interface HandleProps {
  end: 'from' | 'to'
  range: Range
  whole: Range
  step: number
  said: string
  onMove: (range: Range) => void
  onEnter: () => void
}

function Handle({ end, range, whole, step, said, onMove, onEnter }: HandleProps) {
  const { t } = useTranslation()
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'Enter') onEnter()
    if (event.key === 'Escape') onMove(whole)
    const next = moved(range, end, event.key, step, whole)
    if (!next) return
    event.preventDefault()
    onMove(next)
  }
  return (
    <span className={css.handle} role="slider" tabIndex={0} aria-label={t(`traffic.time.${end}`)} aria-valuemin={whole.from} aria-valuemax={whole.to} aria-valuenow={range[end]}
      aria-valuetext={t('traffic.time.said', { time: label(range[end], whole), bytes: said })} style={{ left: `${partOf(range[end], whole) * 100}%` }} onKeyDown={onKey} />
  )
}

/** A moment as exact as the range needs. */
function label(time: number, { from, to }: Range): string {
  const d = new Date(time)
  return (to - from < 3600_000 ? second : clock)(d, new Date(0))
}
