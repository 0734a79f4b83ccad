// How the server itself is: what works, how fast it answers, what it takes, and when its disk is full.
import '../locales/operate'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { system, type System } from '../api/operate'
import { useSeries, type SeriesData, type SeriesWish } from '../api/useSeries'
import css from '../charts/charts.module.css'
import { TimeChart, type ChartLine } from '../charts/TimeChart'
import { bytes, count, duration, wholePercent } from '../lib/format'
import { fullInDays } from '../lib/promql'
import { sumBy, windowStart } from '../lib/series'
import '../locales/plugins'
import { Meter, StateMark } from '../ui/marks'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { useRange } from '../ui/Range'
import { Loaded, Problem } from '../ui/states'
import { Ago } from '../ui/Time'
import ui from '../ui/ui.module.css'

const colors = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6']

export function SystemPage() {
  const { t } = useTranslation()
  const state = useQuery(system)
  return (
    <Page title={t('system.title')} lead={t('system.lead')}>
      <Loaded query={state}>
        {(s) => (
          <>
            <Panel title={t('system.parts')} flush hint={s.parts.every((p) => p.ok) ? t('system.allGood') : t('system.notAll', { n: s.parts.filter((p) => !p.ok).length })}>
              <table className={ui.table}>
                <caption className="visually-hidden">{t('system.parts')}</caption>
                <thead><tr><th scope="col">{t('system.part')}</th><th scope="col">{t('system.state')}</th></tr></thead>
                <tbody>
                  {s.parts.map((p) => (
                    <tr key={p.name}>
                      <td>{t(`system.names.${p.name}` as 'system.names.disk', { defaultValue: p.name })}</td>
                      <td>{p.ok ? <StateMark tone="good">{t('system.ok')}</StateMark> : <><StateMark tone="bad">{p.problem}</StateMark><div className={ui.sub}>{p.todo}</div></>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Panel>
            <Charts of={s} />
            <Panel title={t('system.about')}>
              <Facts>
                <Fact name={t('system.version')}>{s.version}</Fact>
                <Fact name={t('system.started')}><Ago at={s.started} /></Fact>
                <Fact name={t('system.agents')}>{['online', 'late', 'offline'].map((x) => `${count(s.agents[x] ?? 0)} ${t(`system.agent.${x}` as 'system.agent.online')}`).join(' · ')}</Fact>
              </Facts>
            </Panel>
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Charts({ of }: { of: System }) {
  const { t } = useTranslation()
  const { seconds, control } = useRange('1h')
  const [at, setAt] = useState<number | null>(null)
  const own = (metric: string, more: Partial<SeriesWish> = {}) => ({ metric: `picket.${metric}`, agent: of.source, ...more })
  const answers = {
    api: useSeries(own('http.duration'), seconds),
    requests: useSeries(own('http.requests', { rate: true }), seconds),
    ingest: useSeries(own('ingest.samples', { rate: true }), seconds),
    queue: useSeries(own('ingest.queue', { agg: 'max' }), seconds),
    cpu: useSeries(own('process.cpu', { rate: true }), seconds),
    memory: useSeries(own('process.memory', { agg: 'last' }), seconds),
    agents: useSeries(own('agents', { agg: 'last' }), seconds),
    pluginCpu: useSeries(own('plugin.cpu', { rate: true }), seconds),
    pluginMemory: useSeries(own('plugin.memory', { agg: 'last' }), seconds),
    dropped: useSeries(own('plugin.dropped', { rate: true }), seconds),
    storage: useSeries(own('storage.size', { agg: 'last' }), seconds),
  }
  const all = Object.values(answers)
  const failed = all.find((q) => q.isError)
  const [opened] = useState(() => Date.now())
  const to = Math.max(opened, ...all.map((q) => q.data?.to ?? 0))
  const from = windowStart(all.flatMap((q) => q.data?.series ?? []), to - seconds * 1000, to)
  const shared = (q: { data?: SeriesData }) => ({ group: 'own' as const, from, to, stepSeconds: q.data?.step_seconds ?? 30, at, onPoint: setAt })
  const l = {
    api: useLines(answers.api.data, 'quantile', (q) => `p${Number(q) * 100}`),
    requests: useLines(answers.requests.data, 'status'),
    ingest: useLines(answers.ingest.data, 'result'),
    queue: useLines(answers.queue.data, '', () => t('system.waiting')),
    cpu: useLines(answers.cpu.data, '', () => t('system.cpu')),
    memory: useLines(answers.memory.data, '', () => t('system.memory')),
    agents: useLines(answers.agents.data, 'state'),
    pluginCpu: useLines(answers.pluginCpu.data, 'instance'),
    pluginMemory: useLines(answers.pluginMemory.data, 'instance'),
    dropped: useLines(answers.dropped.data, 'instance'),
    storage: useLines(answers.storage.data, 'kind'),
  }
  return (
    <>
      {failed && <Problem error={failed.error} retry={() => void failed.refetch()} />}
      <Storage of={of} />
      <Panel title={t('system.figures')} actions={control}>
        <div className={css.room}>
          <div className={`${css.grid} ${css.three}`}>
            <TimeChart title={t('system.api')} unit="s" lines={l.api} {...shared(answers.api)} />
            <TimeChart title={t('system.requests')} unit="{request}/s" stacked lines={l.requests} {...shared(answers.requests)} />
            <TimeChart title={t('system.ingest')} unit="{sample}/s" lines={l.ingest} {...shared(answers.ingest)} />
            <TimeChart title={t('system.queue')} unit="{sample}" lines={l.queue} {...shared(answers.queue)} />
            <TimeChart title={t('system.cpu')} unit="1" lines={l.cpu} {...shared(answers.cpu)} />
            <TimeChart title={t('system.memory')} unit="By" lines={l.memory} {...shared(answers.memory)} />
            <TimeChart title={t('system.agents')} unit="{agent}" stacked lines={l.agents} {...shared(answers.agents)} />
            <TimeChart title={t('system.storage')} unit="By" stacked lines={l.storage} {...shared(answers.storage)} />
          </div>
        </div>
      </Panel>
      <Panel title={t('system.plugins')} hint={<Link to="/plugins">{t('system.toPlugins')}</Link>}>
        <div className={css.room}>
          <div className={`${css.grid} ${css.three}`}>
            <TimeChart title={t('system.cpu')} unit="1" stacked lines={l.pluginCpu} {...shared(answers.pluginCpu)} />
            <TimeChart title={t('system.memory')} unit="By" lines={l.pluginMemory} {...shared(answers.pluginMemory)} />
            <TimeChart title={t('system.dropped')} unit="{record}/s" lines={l.dropped} {...shared(answers.dropped)} />
          </div>
        </div>
      </Panel>
      <p className="dim">{t('system.explore')} <Link to="/explore" search={{ q: ['{__name__=~"picket_.+"}'] }}>{t('system.toExplore')}</Link></p>
    </>
  )
}

/** The lines of an answer by a label; the largest six, and what the others are together. */
function useLines(data: SeriesData | undefined, label: string, name: (value: string) => string = (v) => v): ChartLine[] {
  return useMemo(() => {
    const lines = sumBy(data?.series ?? [], (l) => l[label] ?? '').map((x) => ({ ...x, name: name(x.name) }))
    const size = (points: readonly [number, number | null][]) => Math.max(0, ...points.map(([, v]) => v ?? 0))
    return lines.toSorted((a, b) => size(b.points) - size(a.points)).slice(0, colors.length).map((x, i) => ({ ...x, color: colors[i]! }))
  }, [data]) // eslint-disable-line react-hooks/exhaustive-deps -- how it is named does not change
}

/** How the disk is filled, and when it is full if it goes on as in the last week. */
function Storage({ of }: { of: System }) {
  const { t } = useTranslation()
  const grown = useSeries({ metric: 'picket.disk.free', agent: of.source, agg: 'last' }, 7 * 86_400)
  const points = (grown.data?.series[0]?.points ?? []).flatMap(([time, v]) => (v === null ? [] : [[time, v] as const]))
  const [first, last] = [points[0], points.at(-1)]
  const days = first && last ? (last[0] - first[0]) / 86_400_000 : 0
  const perDay = first && last && days > 0.25 ? (first[1] - last[1]) / days : null
  const full = perDay === null ? null : fullInDays(of.disk_free, perDay)
  const used = of.disk_size > 0 ? 1 - of.disk_free / of.disk_size : 0
  return (
    <Panel title={t('system.disk')} hint={<Link to="/settings">{t('system.toSettings')}</Link>}>
      <div className={ui.stack}>
      {of.disk_size > 0 && (
        <>
          <p><b>{wholePercent(used)}</b> {t('system.used', { free: bytes(of.disk_free), size: bytes(of.disk_size) })}</p>
          <Meter value={used} of={1} label={t('system.disk')} />
        </>
      )}
      <p>{perDay === null ? t('system.tooEarly') : full === null ? t('system.notGrowing') : full > 3650 ? t('system.never', { perDay: bytes(perDay) }) : t('system.fullIn', { perDay: bytes(perDay), time: duration(full * 86_400) })}</p>
      <Facts>{of.storage.toSorted((a, b) => b.bytes - a.bytes).map((s) => <Fact key={s.kind} name={t(`system.kinds.${s.kind}` as 'system.kinds.flows', { defaultValue: s.kind })}>{bytes(s.bytes)}</Fact>)}</Facts>
      </div>
    </Panel>
  )
}
