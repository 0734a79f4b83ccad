import { Button } from '@mantine/core'
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { agents as act } from '../api/actions'
import { agent, agentCommands, agentConfig, alerts } from '../api/queries'
import type { components } from '../api/schema'
import type { Agent, PluginInstance } from '../api/types'
import { useMay } from '../api/useMay'
import { Filesystems } from '../charts/Filesystems'
import { HostCharts } from '../charts/HostCharts'
import { bytes, count, duration } from '../lib/format'
import '../locales/alerts'
import '../locales/machines'
import '../locales/plugins'
import { Confirm } from '../ui/confirm'
import { MachineState, SeverityMark, State } from '../ui/marks'
import { LoadedPage } from '../ui/LoadedPage'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { useRange } from '../ui/Range'
import { Empty, Loaded } from '../ui/states'
import { Ago, Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'

export function MachinePage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/machines/$id' })
  const query = useQuery(agent(id))
  return (
    <LoadedPage query={query} title={t('machine.title')} back={{ to: '/machines', label: t('machines.title') }}>
      {(a) => <Detail agent={a} />}
    </LoadedPage>
  )
}

function Detail({ agent: a }: { agent: Agent }) {
  const { t } = useTranslation()
  const can = useMay()
  const order = useOrder(a.id)
  const range = useRange('1h')
  const navigate = useNavigate({ from: '/machines/$id' })
  const { from, to } = useSearch({ from: '/inside/machines/$id' })
  const part = useMemo(() => (from !== undefined && to !== undefined ? { from, to } : undefined), [from, to])
  const config = useQuery(agentConfig(a.id))
  const zoom = (begin: number, end: number) => {
    if (end - begin >= 60_000) void navigate({ search: { from: Math.round(begin), to: Math.round(end) }, resetScroll: false })
  }
  return (
    <Page
      title={a.name}
      back={{ to: '/machines', label: t('machines.title') }}
      lead={<MachineState agent={a} />}
      actions={
        <>
          {can('agents:admin') && <Access agent={a} />}
          <Button variant="default" component={Link} to={`/config/${a.id}`}>{t('machine.configuration')}</Button>
          {can('operate') && <Button variant="default" loading={order.busy} onClick={() => order.send('collect-now')}>{t('machine.collect')}</Button>}
        </>
      }
    >
      <Panel title={t('machine.load')} actions={part ? <Button size="xs" variant="default" onClick={() => void navigate({ search: {}, resetScroll: false })}>{t('machine.whole')}</Button> : range.control}>
        <HostCharts agent={a.id} rangeSeconds={range.seconds} part={part} onZoom={zoom} />
      </Panel>
      <div className={ui.columns}>
        <div className={ui.stack}>
          <Panel title={t('machines.plugins')} flush>
            <Running agent={a} said={config.data?.runs ?? []} restart={can('operate') ? (i) => order.send('restart-plugin', { instance: i.instance }) : undefined} />
          </Panel>
          <Commands id={a.id} />
          {can('watch') && <OpenAlerts of={a.address || a.name} />}
        </div>
        <div className={ui.stack}>
          <Filesystems agent={a.id} />
          <Panel title={t('machine.facts')}>
            <Facts>
              <Fact name={t('machines.system')}>{a.os}/{a.arch}</Fact>
              <Fact name={t('machines.version')}>{a.version}</Fact>
              <Fact name={t('machine.groups')}><Groups agent={a} /></Fact>
              {config.data && <Fact name={t('machine.config')}>{config.data.version > 0 ? t('machine.configVersion', { version: config.data.version, by: config.data.by }) : t('machine.configNone')}</Fact>}
              {a.address && <Fact name={t('machine.address')}><span className="mono">{a.address}</span></Fact>}
              <Fact name={t('machines.seen')}><Ago at={a.last_seen} /></Fact>
              <Fact name={t('machine.enrolled')}><Time at={a.enrolled_at} /></Fact>
              {a.queue && <Fact name={t('machine.queue')}>{a.queue.depth > 0 ? t('machine.queued', { depth: count(a.queue.depth), size: bytes(a.queue.bytes) }) : t('machine.queueEmpty')}{a.queue.dropped > 0 && <> · {t('machine.dropped', { dropped: count(a.queue.dropped) })}</>}</Fact>}
              {Object.entries(a.labels ?? {}).map(([k, v]) => <Fact key={k} name={k}>{v}</Fact>)}
            </Facts>
          </Panel>
        </div>
      </div>
    </Page>
  )
}

/** Its home first, then what it is in besides. */
function Groups({ agent: a }: { agent: Agent }) {
  return [...new Set([a.group, ...a.groups])].map((g, i) => <span key={g}>{i > 0 && ', '}<Link to="/groups/$name" params={{ name: g }}>{g}</Link></span>)
}

/** Whether the machine may come in at all. */
function Access({ agent: a }: { agent: Agent }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const [asking, setAsking] = useState<'disable' | 'forget' | null>(null)
  const refresh = () => client.invalidateQueries({ queryKey: ['agents'] })
  return (
    <>
      <Button variant="default" onClick={() => setAsking('forget')}>{t('machine.forget')}</Button>
      {a.disabled
        ? <Button variant="default" onClick={() => void act.enable(a.id).then(refresh, tell.failed)}>{t('machine.enable')}</Button>
        : <Button variant="default" onClick={() => setAsking('disable')}>{t('machine.disable')}</Button>}
      <Confirm opened={asking === 'disable'} onClose={() => setAsking(null)} title={t('machine.disableTitle', { name: a.name })} confirm={t('machine.disable')} danger
        act={() => act.disable(a.id).then(refresh)}>
        {t('machine.disableText')}
      </Confirm>
      <Confirm opened={asking === 'forget'} onClose={() => setAsking(null)} title={t('machine.forgetTitle', { name: a.name })} confirm={t('machine.forget')} danger
        act={() => act.forget(a.id).then(() => navigate({ to: '/machines' })).then(refresh)}>
        {t('machine.forgetText')}
      </Confirm>
    </>
  )
}

function useOrder(id: string) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [busy, setBusy] = useState(false)
  const send = (type: 'collect-now' | 'restart-plugin', args: Record<string, string> = {}) => {
    setBusy(true)
    act
      .command(id, type, args)
      .then(() => tell.done(t('machine.ordered')), tell.failed)
      .finally(() => {
        setBusy(false)
        void client.invalidateQueries({ queryKey: ['agents'] })
      })
  }
  return { busy, send }
}

type Said = components['schemas']['ConfiguredPlugin']

function Running({ agent: a, said, restart }: { agent: Agent; said: Said[]; restart?: (i: PluginInstance) => void }) {
  const { t } = useTranslation()
  const running = a.plugins ?? []
  const missing = said.filter((s) => running.every((i) => i.instance !== s.instance))
  const saidBy = (from: string) => (from === 'agents' ? t('machine.fromAll') : from.startsWith('group:') ? t('machine.fromGroup', { group: from.slice('group:'.length) }) : t('machine.fromHere'))
  if (running.length + missing.length === 0) return <Empty title={t('machine.noPlugins')} action={<Link to="/plugins">{t('nav.plugins')}</Link>}>{t('machine.noPluginsText')}</Empty>
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('machines.plugins')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('plugins.plugin')}</th>
          <th scope="col">{t('plugins.state')}</th>
          <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.cpu')}</th>
          <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.memory')}</th>
          <th scope="col" className={`${ui.wide} ${ui.right}`}>{t('plugins.restarts')}</th>
          {restart && <th scope="col"><span className="visually-hidden">{t('machine.orders')}</span></th>}
        </tr>
      </thead>
      <tbody>
        {missing.map((s) => (
          <tr key={s.instance}>
            <td>
              <span className={ui.main}>{s.plugin}</span>
              <div className={ui.sub}>{s.version} · {saidBy(s.from)}</div>
            </td>
            <td>{t('machine.notYet')}</td>
          </tr>
        ))}
        {running.map((i) => {
          const origin = said.find((s) => s.instance === i.instance)
          const [ns = '', name = ''] = (i.plugin ?? '').split('/')
          return (
            <tr key={i.instance} className={ui.row}>
              <td>
                {ns && name ? <Link to="/plugins/$ns/$name" params={{ ns, name }} className={ui.main}>{i.plugin}</Link> : i.plugin || i.instance}
                <div className={ui.sub}>{i.runtime}{origin && <> · {origin.version} · {saidBy(origin.from)}</>}{i.reason && i.state !== 'ready' && <> · {i.reason}</>}</div>
              </td>
              <td><State of={i.state} /></td>
              <td className={`${ui.medium} ${ui.right} num`}>{duration(i.ledger?.cpu_seconds ?? 0)}</td>
              <td className={`${ui.medium} ${ui.right} num`}>{i.ledger?.memory_bytes ? bytes(i.ledger.memory_bytes) : '–'}</td>
              <td className={`${ui.wide} ${ui.right} num`}>{i.restarts}</td>
              {restart && <td className={ui.right}><Button size="compact-xs" variant="default" onClick={() => restart(i)} aria-label={t('machine.restartOne', { name: i.plugin || i.instance })}>{t('plugin.restart')}</Button></td>}
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

/** What is known of it at either end of a connection. */
function OpenAlerts({ of }: { of: string }) {
  const { t } = useTranslation()
  const query = useInfiniteQuery(alerts({ entity: of, state: 'firing' }))
  return (
    <Panel title={t('overview.openAlerts')} hint={<Link to="/alerts" search={{ entity: of }}>{t('overview.allAlerts')}</Link>} flush>
      <Loaded query={query}>
        {(items) =>
          items.length === 0 ? <Empty title={t('machine.noAlerts', { of })} /> : (
            <table className={ui.table}>
              <caption className="visually-hidden">{t('overview.openAlerts')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('alerts.severity')}</th>
                  <th scope="col">{t('alerts.what')}</th>
                  <th scope="col">{t('machines.seen')}</th>
                </tr>
              </thead>
              <tbody>
                {items.slice(0, 5).map((found) => (
                  <tr key={found.id} className={ui.row}>
                    <td><SeverityMark severity={found.severity} /></td>
                    <td><Link to="/alerts/$id" params={{ id: found.id }} className={ui.main}>{found.title}</Link></td>
                    <td><Ago at={found.last_seen} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
    </Panel>
  )
}

function Commands({ id }: { id: string }) {
  const { t } = useTranslation()
  const query = useQuery(agentCommands(id))
  return (
    <Panel title={t('machine.commands')} hint={t('machine.commandsHint')} flush>
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? <Empty title={t('machine.noCommands')} /> : (
            <table className={ui.table}>
              <caption className="visually-hidden">{t('machine.commands')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('machine.order')}</th>
                  <th scope="col">{t('machines.state')}</th>
                  <th scope="col" className={ui.medium}>{t('machine.by')}</th>
                  <th scope="col">{t('machine.issued')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((c) => (
                  <tr key={c.id}>
                    <td>
                      <span className="mono">{c.type}</span>
                      {c.output && <div className={ui.sub}>{c.output}{c.output_truncated && '…'}</div>}
                    </td>
                    <td><State of={c.state} /></td>
                    <td className={ui.medium}>{c.created_by}</td>
                    <td><Ago at={c.issued} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
    </Panel>
  )
}
