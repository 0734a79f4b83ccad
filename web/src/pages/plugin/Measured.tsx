// What an instance measured in the last hour: a few of the metrics that the plugin names, and the others on demand.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { metricNames } from '../../api/queries'
import type { Metric, Plugin, PluginInstance } from '../../api/types'
import { useManySeries, type SeriesData } from '../../api/useSeries'
import charts from '../../charts/charts.module.css'
import { TimeChart, type ChartLine } from '../../charts/TimeChart'
import { countKnown, inTurn, linesOf, rateUnit } from '../../lib/measured'
import { windowStart } from '../../lib/series'
import '../../locales/plugins'
import { Panel } from '../../ui/Page'
import { Loaded, Problem } from '../../ui/states'

interface Props {
  plugin: Plugin
  instance: PluginInstance
}

const atOnce = 4
const hour = 3600

export function Measured({ plugin: p, instance: i }: Props) {
  const { t } = useTranslation()
  const names = useQuery(metricNames)
  return (
    <Panel title={t('plugin.measures')} hint={t('plugin.measuresHint')}>
      <Loaded query={names}>
        {({ items }) => {
          const seen = new Map(items.map((m) => [m.metric, m]))
          const own = inTurn(p.metrics).flatMap((m) => seen.get(m) ?? [])
          return own.length === 0 ? <p className="dim">{t('plugin.measuresNothing')}</p> : <Charts key={i.node.id} plugin={p} instance={i} metrics={own} />
        }}
      </Loaded>
    </Panel>
  )
}

function Charts({ plugin: p, instance: i, metrics }: Props & { metrics: Metric[] }) {
  const { t } = useTranslation()
  const [shown, setShown] = useState(atOnce)
  const [at, setAt] = useState<number | null>(null)
  const [opened] = useState(() => Date.now())
  const drawn = metrics.slice(0, shown)
  const { data, error } = useManySeries(drawn.map((m) => ({ metric: m.metric, plugin: p.id, agent: i.node.id, rate: m.type === 'counter' || undefined })), hour)
  const to = Math.max(opened, ...data.map((d) => d?.to ?? 0))
  const from = windowStart(data.flatMap((d) => d?.series ?? []), to - hour * 1000, to)
  const rest = metrics.length - drawn.length
  const silent = data.every((d) => d && countKnown(d.series) === 0)
  return (
    <>
      {error !== null && <Problem error={error} />}
      {silent ? <p className="dim">{t('plugin.measuresNothing')}</p> : (
        <div className={charts.room}>
          <div className={charts.grid}>
            {drawn.map((m, n) => <MetricChart key={m.metric} metric={m} data={data[n]} from={from} to={to} at={at} onPoint={setAt} />)}
          </div>
        </div>
      )}
      {rest > 0 && <Button size="compact-xs" variant="default" mt={12} onClick={() => setShown(shown + atOnce)}>{t('plugin.measuresMore', { count: Math.min(rest, atOnce) })}</Button>}
    </>
  )
}

interface ChartProps {
  metric: Metric
  data: SeriesData | undefined
  from: number
  to: number
  at: number | null
  onPoint: (time: number | null) => void
}

function MetricChart({ metric: m, data, ...shared }: ChartProps) {
  const { t } = useTranslation()
  const lines = useMemo(() => linesOf(data?.series ?? []).map((l, n): ChartLine => ({ ...l, name: l.name || t('plugin.measuresValue'), color: `c${n + 1}` })), [data, t])
  const all = countKnown(data?.series ?? [])
  // Of several lines no single value stands for the metric.
  const headline = all > 1 ? { value: '', note: t(data?.truncated ? 'plugin.measuresCut' : 'plugin.measuresLines', { n: lines.length, count: all }) } : undefined
  const counter = m.type === 'counter'
  return (
    <TimeChart title={counter ? t('plugin.measuresRate', { metric: m.metric }) : m.metric} unit={counter ? rateUnit(m.unit) : m.unit} lines={lines} headline={headline}
      stepSeconds={data?.step_seconds ?? 10} {...shared} />
  )
}
