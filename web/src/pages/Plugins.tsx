import { Button, SegmentedControl } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { plugins } from '../api/queries'
import type { Plugin, PluginInstance, PluginKind } from '../api/types'
import { bytes, duration } from '../lib/format'
import { memoryOf, type Memory } from '../lib/sharedMemory'
import '../locales/plugins'
import { State, StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList, type Translate } from '../ui/states'
import ui from '../ui/ui.module.css'
import { isUnsigned, UnsignedMark } from './plugin/TrustMark'
import css from './plugins.module.css'

export const kinds: readonly PluginKind[] = ['collector', 'discovery', 'detector', 'notifier']

export function PluginsPage() {
  const { t } = useTranslation()
  const { kind } = useSearch({ from: '/inside/plugins' })
  const navigate = useNavigate({ from: '/plugins' })
  const query = useInfiniteQuery(plugins)
  return (
    <Page
      title={t('plugins.title')}
      lead={t('plugins.lead')}
      actions={
        <>
          <SegmentedControl size="xs" aria-label={t('plugins.kind')} value={kind ?? 'all'}
            onChange={(v) => void navigate({ search: { kind: v === 'all' ? undefined : v }, replace: true })}
            data={[{ value: 'all', label: t('plugins.all') }, ...kinds.map((k) => ({ value: k, label: t(`plugins.kinds.${k}`) }))]} />
          <Button component={Link} to="/market" size="xs" variant="default">{t('plugins.more')}</Button>
        </>
      }
    >
      <LoadedList query={query} empty={<Panel title={t('plugins.title')} flush><Empty title={t('plugins.none')}>{t('plugins.noneText')}</Empty></Panel>}>
        {(items) => {
          const wanted = items.filter((p) => !kind || p.kind === kind)
          const groups = kinds.filter((k) => wanted.some((p) => p.kind === k))
          if (groups.length === 0) return <Panel title={t('plugins.title')} flush><Empty title={t('plugins.noneOfKind')} /></Panel>
          return groups.map((k) => (
            <Panel key={k} title={t(`plugins.heads.${k}`)} hint={t(`plugins.does.${k}`)} flush>
              <PluginTable items={wanted.filter((p) => p.kind === k)} caption={t(`plugins.heads.${k}`)} />
            </Panel>
          ))
        }}
      </LoadedList>
    </Page>
  )
}

function PluginTable({ items, caption }: { items: Plugin[]; caption: string }) {
  const { t } = useTranslation()
  const memory = memoryOf(items)
  return (
    <table className={`${ui.table} ${css.list}`}>
      <caption className="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">{t('plugins.plugin')}</th>
          <th scope="col">{t('plugins.state')}</th>
          <th scope="col" className={ui.wide}>{t('plugins.runtime')}</th>
          <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.cpu')}</th>
          <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.memory')}</th>
          <th scope="col" className={`${ui.wide} ${ui.right}`}>{t('plugins.restarts')}</th>
          <th scope="col" className={`${ui.wide} ${ui.right}`}>{t('plugins.version')}</th>
        </tr>
      </thead>
      <tbody>
        {items.map((p) => {
          const [ns = '', name = ''] = p.id.split('/')
          const running = p.instances ?? []
          return (
            <tr key={p.id} className={ui.row}>
              <td>
                <Link to="/plugins/$ns/$name" params={{ ns, name }} className={ui.main}>{p.title || p.id}</Link>
                <div className={ui.sub}>{p.summary}</div>
              </td>
              <td><span className={ui.lines}>{summaryState(running, p.enabled, t)}{isUnsigned(p) && <UnsignedMark />}</span></td>
              <td className={ui.wide}>{runtimes(running, p.runtimes)}</td>
              <td className={`${ui.medium} ${ui.right} num`}>{running.length ? duration(running.reduce((sum, i) => sum + (i.ledger?.cpu_seconds ?? 0), 0)) : '–'}</td>
              <td className={`${ui.medium} ${ui.right} num`}>{running.length ? <MemoryText of={memory.get(p.id)!} /> : '–'}</td>
              <td className={`${ui.wide} ${ui.right} num`}>{running.length ? running.reduce((n, i) => n + i.restarts, 0) : '–'}</td>
              <td className={`${ui.wide} ${ui.right} num`}>{p.version}</td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

function MemoryText({ of: { bytes: own, others, with: first } }: { of: Memory }) {
  const { t } = useTranslation()
  return (
    <>
      {own > 0 || !first ? bytes(own) : <span className="dim">{t('plugins.sharedWith', { name: first.split('/').at(-1) })}</span>}
      {others > 0 && <div className={ui.sub}>{t('plugins.sharedBy', { count: others + 1 })}</div>}
    </>
  )
}

function runtimes(running: PluginInstance[], offered: string[]) {
  const used = [...new Set(running.map((i) => i.runtime).filter(Boolean))]
  return used.length > 0 ? used.join(', ') : <span className="dim">{offered?.join(', ')}</span>
}

/** The worst state leads: one broken instance among ten good ones is what matters. */
const worstFirst = ['quarantined', 'revoked', 'refused', 'backoff', 'degraded', 'starting', 'staged', 'draining', 'stopped', 'ready']

export const worstOf = (running: readonly PluginInstance[]): PluginInstance | undefined =>
  running.toSorted((a, b) => worstFirst.indexOf(a.state) - worstFirst.indexOf(b.state))[0]

function summaryState(running: PluginInstance[], enabled: boolean, t: Translate) {
  if (running.length === 0) return enabled ? <State of="staged" /> : <StateMark tone="off">{t('plugins.off')}</StateMark>
  const worst = worstOf(running)!
  return (
    <span className={ui.lines}>
      <State of={worst.state} />
      {running.length > 1 && <span className={ui.sub}>{t('plugins.instances', { count: running.length })}</span>}
    </span>
  )
}
