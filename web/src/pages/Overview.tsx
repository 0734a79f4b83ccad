import { NativeSelect } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { alerts, overview, reportingFirst } from '../api/queries'
import { severities, type Agent, type Alert, type Overview, type Step } from '../api/types'
import { useMay } from '../api/useMay'
import { HostCharts } from '../charts/HostCharts'
import { Page, Panel } from '../ui/Page'
import { useRange } from '../ui/Range'
import { SeverityMark } from '../ui/marks'
import { Empty, Loaded } from '../ui/states'
import { Ago } from '../ui/Time'
import css from './overview.module.css'
import { between } from './words'

export function OverviewPage() {
  const { t } = useTranslation()
  const can = useMay()
  const query = useQuery(overview)
  return (
    <Page title={t('overview.title')}>
      <Loaded query={query} rows={3}>
        {(data) => (
          <>
            <Figures data={data} />
            {can('watch') && (
              <div className={css.layout}>
                <OpenAlerts />
                <div className={css.host}><Hosts /></div>
                <NextSteps steps={data.steps ?? []} />
              </div>
            )}
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Figures({ data }: { data: Overview }) {
  const { t } = useTranslation()
  const open = severities.reduce((sum, s) => sum + (data.alerts?.[s] ?? 0), 0)
  const present = severities.toReversed().filter((s) => (data.alerts?.[s] ?? 0) > 0)
  return (
    <section className={css.strip} aria-label={t('overview.figures')}>
      <Link to="/alerts" className={css.figure}>
        <span>{t('overview.openAlerts')}</span>
        <b>{open}</b>
        {present.length === 0 ? <small>{t('overview.quiet')}</small> : (
          <span className={css.tally}>
            {present.map((s) => <span key={s}><SeverityMark severity={s} /> {data.alerts[s]}</span>)}
          </span>
        )}
      </Link>
      <Link to="/machines" className={css.figure}>
        <span>{t('overview.machines')}</span>
        <b>{data.agents.online}</b>
        <small>{t('overview.ofOnline', { total: data.agents.total })}</small>
      </Link>
      <Link to="/plugins" className={css.figure}>
        <span>{t('overview.plugins')}</span>
        <b>{data.plugins.ready}</b>
        <small>{t('overview.ofReady', { total: data.plugins.total })}</small>
      </Link>
      <Link to="/devices" className={css.figure}>
        <span>{t('overview.devices')}</span>
        <b>{data.devices}</b>
        <small>{data.devices === 0 ? t('overview.noDevices') : t('overview.knownDevices')}</small>
      </Link>
    </section>
  )
}

function OpenAlerts() {
  const { t } = useTranslation()
  const firing = useInfiniteQuery(alerts({ state: 'firing' }))
  const acknowledged = useInfiniteQuery(alerts({ state: 'acknowledged' }))
  return (
    <Panel title={t('overview.openAlerts')} hint={<Link to="/alerts">{t('overview.allAlerts')}</Link>} flush>
      <Loaded query={firing}>{(items) => <AlertList items={[...items, ...(acknowledged.data ?? [])]} />}</Loaded>
    </Panel>
  )
}

function AlertList({ items }: { items: Alert[] }) {
  const { t } = useTranslation()
  if (items.length === 0) return <Empty title={t('overview.noAlerts')}>{t('overview.noAlertsText')}</Empty>
  return (
    <ul className={css.alerts}>
      {worstFirst(items).slice(0, 8).map((a) => (
        <li key={a.id}>
          <span className={css.mark}><SeverityMark severity={a.severity} label={false} /></span>
          <div>
            <Link to="/alerts/$id" params={{ id: a.id }}>{a.title}</Link>
            <div className={css.sub}><span className="mono">{between(a.src, a.dst)}</span></div>
            <div className={css.sub}>
              {a.detector} · <Ago at={a.last_seen} />
              {a.state === 'acknowledged' && <> · {t('state.acknowledged')}</>}
            </div>
          </div>
        </li>
      ))}
    </ul>
  )
}

function worstFirst(items: Alert[]): Alert[] {
  // What somebody looks after already comes after what nobody does.
  const waiting = (a: Alert) => (a.state === 'firing' ? 1 : 0)
  return items.toSorted((a, b) => waiting(b) - waiting(a) || severities.indexOf(b.severity) - severities.indexOf(a.severity) || b.risk - a.risk)
}

/** Steps lead to pages of this app, whatever the server writes as their link. */
const stepTargets = {
  enable_plugin: { to: '/plugins' },
  add_machine: { to: '/machines', search: { add: true } },
  drop_capture: { to: '/captures' },
  get_told: { to: '/plugins', search: { kind: 'notifier' } },
} as const

function NextSteps({ steps }: { steps: Step[] }) {
  const { t } = useTranslation()
  if (steps.length === 0) return null
  return (
    <Panel title={t('overview.next')} hint={t('overview.nextDone', { done: steps.filter((s) => s.done).length, total: steps.length })} flush>
      <ol className={css.steps}>
        {steps.map((s) => (
          <li key={s.id} data-done={s.done || undefined}>
            <Link {...stepTargets[s.id]}>{s.title}{s.done && <span className="visually-hidden"> {t('overview.stepDone')}</span>}</Link>
            <p>{s.text}</p>
          </li>
        ))}
      </ol>
    </Panel>
  )
}

function Hosts() {
  const { t } = useTranslation()
  const list = useQuery(reportingFirst)
  const [chosen, setChosen] = useState<string | null>(null)
  const range = useRange('15m')
  const machines = list.data?.items ?? []
  const machine = machines.find((m) => m.id === chosen) ?? firstOf(machines)

  return (
    <Panel
      title={machine ? machine.name : t('overview.host')}
      hint={machine ? `${machine.os}/${machine.arch}` : undefined}
      actions={
        <>
          {machines.length > 1 && (
            <NativeSelect aria-label={t('overview.machine')} size="xs" w={170} value={machine?.id} onChange={(e) => setChosen(e.currentTarget.value)}
              data={machines.map((m) => ({ value: m.id, label: m.name }))} />
          )}
          {range.control}
        </>
      }
    >
      <Loaded query={list}>
        {() => machine
          ? <HostCharts agent={machine.id} rangeSeconds={range.seconds} />
          : <Empty title={t('overview.noMachine')} action={<Link to="/machines" search={{ add: true }}>{t('machines.add')}</Link>}>{t('overview.noMachineText')}</Empty>}
      </Loaded>
    </Panel>
  )
}

/** A machine that reports, if there is one. */
function firstOf(machines: Agent[]): Agent | undefined {
  return machines.find((m) => m.state === 'online') ?? machines[0]
}
