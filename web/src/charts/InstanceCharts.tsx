// What an instance of a plugin costs and brings over time, from the ledger that its node keeps.
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { PluginInstance } from '../api/types'
import { useSeries, type SeriesData, type SeriesWish } from '../api/useSeries'
import { bytes, bytesPerSecond, duration } from '../lib/format'
import { latest, sumBy, windowStart } from '../lib/series'
import '../locales/plugins'
import { Problem } from '../ui/states'
import css from './charts.module.css'
import { TimeChart, type ChartLine } from './TimeChart'

type Wish = Pick<SeriesWish, 'agent' | 'labels'>

/** Which series are those of an instance. Each version has one of its own; together they are the instance's. */
export const seriesOf = (i: PluginInstance): Wish => ({ agent: i.node.id, labels: `instance=${i.instance}` })

export function InstanceCharts({ instance: i, rangeSeconds }: { instance: PluginInstance; rangeSeconds: number }) {
  const { t } = useTranslation()
  const [at, setAt] = useState<number | null>(null)
  const [opened] = useState(() => Date.now())
  const counter = (name: string): SeriesWish => ({ metric: `picket.plugin.${name}`, ...seriesOf(i), rate: true })
  const gauge = (name: string, agg: SeriesWish['agg']): SeriesWish => ({ metric: `picket.plugin.${name}`, ...seriesOf(i), agg })
  const cpu = useSeries(counter('cpu.time'), rangeSeconds)
  const memory = useSeries(gauge('memory.usage', 'max'), rangeSeconds)
  const records = useSeries(counter('records'), rangeSeconds)
  const dropped = useSeries(counter('records.dropped'), rangeSeconds)
  const calls = useSeries(counter('calls'), rangeSeconds)
  const errors = useSeries(counter('errors'), rangeSeconds)
  const given = useSeries(counter('io.in'), rangeSeconds)
  const gave = useSeries(counter('io.out'), rangeSeconds)
  const p50 = useSeries(gauge('latency.p50', 'max'), rangeSeconds)
  const p95 = useSeries(gauge('latency.p95', 'max'), rangeSeconds)
  const p99 = useSeries(gauge('latency.p99', 'max'), rangeSeconds)

  const cpuLines = useLines([cpu.data, t('plugin.chart.cpu'), 'c1'])
  const memoryLines = useLines([memory.data, t('plugin.chart.memory'), 'c2'])
  const recordLines = useLines([records.data, t('plugin.chart.passed'), 'c1'], [dropped.data, t('plugin.chart.dropped'), 'c5'])
  const dataLines = useLines([given.data, t('plugin.chart.in'), 'c1'], [gave.data, t('plugin.chart.out'), 'c3'])
  const callLines = useLines([calls.data, t('plugin.chart.all'), 'c1'], [errors.data, t('plugin.chart.failed'), 'c5'])
  const latencyLines = useLines([p50.data, '50 %', 'c1'], [p95.data, '95 %', 'c3'], [p99.data, '99 %', 'c5'])

  const queries = [cpu, memory, records, dropped, calls, errors, given, gave, p50, p95, p99]
  const failed = queries.find((q) => q.isError)
  const to = Math.max(opened, ...queries.map((q) => q.data?.to ?? 0))
  const from = windowStart(queries.flatMap((q) => q.data?.series ?? []), to - rangeSeconds * 1000, to)
  const shared = (q: { data?: SeriesData }) => ({ from, to, stepSeconds: q.data?.step_seconds ?? 10, at, onPoint: setAt })
  const now = memoryLines[0] && latest(memoryLines[0].points)
  const slow = latencyLines[1] && latest(latencyLines[1].points)
  const flow = dataLines.flatMap((l) => latest(l.points)?.[1] ?? [])
  const limit = i.limits.memory_bytes
  return (
    <>
      {failed && <Problem error={failed.error} retry={() => void failed.refetch()} />}
      <div className={css.room}>
        <div className={`${css.grid} ${css.three}`}>
          <TimeChart title={t('plugin.chart.cpu')} unit="1" lines={cpuLines} {...shared(cpu)} />
          <TimeChart title={t('plugin.chart.memory')} unit="By" lines={memoryLines} {...shared(memory)}
            headline={{ value: now ? bytes(now[1]) : '–', note: limit ? `/ ${bytes(limit)}` : undefined }} />
          <TimeChart title={t('plugin.chart.latency')} unit="s" lines={latencyLines} {...shared(p95)} headline={{ value: slow ? duration(slow[1]) : '–', note: slow ? '95 %' : undefined }} />
          <TimeChart title={t('plugin.chart.calls')} unit="{call}/s" lines={callLines} {...shared(calls)} />
          <TimeChart title={t('plugin.chart.records')} unit="{record}/s" lines={recordLines} {...shared(records)} />
          <TimeChart title={t('plugin.chart.data')} unit="By/s" lines={dataLines} {...shared(given)} headline={{ value: flow.length > 0 ? bytesPerSecond(flow.reduce((a, b) => a + b, 0)) : '–' }} />
        </div>
      </div>
    </>
  )
}

type Asked = [data: SeriesData | undefined, name: string, color: string]

/** One line for each answer: its series added up. Lines stay the same while what they show does. */
function useLines(first: Asked, second?: Asked, third?: Asked): ChartLine[] {
  const a = useLine(first)
  const b = useLine(second)
  const c = useLine(third)
  return useMemo(() => [a, b, c].filter((l): l is ChartLine => l !== null), [a, b, c])
}

function useLine([data, name, color]: Asked | [] = []): ChartLine | null {
  return useMemo(() => {
    const sum = data && sumBy(data.series, () => '')[0]
    return sum && name && color ? { name, color, points: sum.points } : null
  }, [data, name, color])
}
