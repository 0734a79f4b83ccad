// The versions of an instance: what runs, what it can go to, what became of the last change, and the version that is
// tried beside it.
import { Button, Group, NativeSelect } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../../api/actions'
import type { Plugin, PluginInstance, ShadowFinding, ShadowReport, Upgrade } from '../../api/types'
import { useMay } from '../../api/useMay'
import { bytes, count, duration } from '../../lib/format'
import { compareVersions, otherVersions, type Withdrawn } from '../../lib/versions'
import '../../locales/market'
import '../../locales/plugins'
import { Confirm } from '../../ui/confirm'
import { StateMark, type Tone } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from '../plugins.module.css'
import { runsUnsigned } from './TrustMark'
import { useWithdrawn } from './useWithdrawn'

interface Props {
  plugin: Plugin
  instance: PluginInstance
}

type Change = 'upgrade' | 'rollback' | 'shadow' | 'promote' | 'drop'

export function Versions({ plugin: p, instance: i }: Props) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const withdrawn = useWithdrawn(p)
  // What was withdrawn is never offered; until that is known, nothing is.
  const others = withdrawn ? otherVersions(p.versions, i.version).filter((v) => !withdrawn.has(v)) : []
  const previous = i.previous && !runsUnsigned(p, i) ? i.previous : undefined
  const [picked, setPicked] = useState<string | null>(null)
  const to = picked !== null && others.includes(picked) ? picked : (others[0] ?? '')
  const [asking, setAsking] = useState<Change | null>(null)
  const here = i.node.type === 'server'
  const shadows = here && (p.kind === 'detector' || p.kind === 'collector')
  const run = async (change: Change) => {
    if (change === 'upgrade') await act.upgrade(p.id, i, to)
    else if (change === 'rollback') await act.rollback(p.id, i)
    else if (change === 'shadow') await act.shadow(p.id, i, to)
    else if (change === 'promote') await act.promote(p.id, i)
    else await act.dropShadow(p.id, i)
    tell.done(t(here || change === 'drop' ? `plugin.changed.${change}` : 'plugin.changed.told'))
    await client.invalidateQueries({ queryKey: ['plugins'] })
  }
  const words = { version: asking === 'rollback' ? i.previous : asking === 'promote' ? i.shadow?.version : to, running: i.version, name: p.title || p.id }
  const older = to !== '' && compareVersions(to, i.version) < 0
  return (
    <Panel title={t('plugin.versions')} hint={i.version && t('plugin.runs', { version: i.version })}>
      <div className={css.versions}>
        {i.upgrade && <LastChange upgrade={i.upgrade} />}
        {withdrawn && others.length === 0 && !i.previous && !i.upgrade && <p className="dim">{t(runsUnsigned(p, i) ? 'plugin.ownVersions' : 'plugin.onlyVersion')}</p>}
        {others.length > 0 && can('administer') && (
          <div className={css.pick}>
            <NativeSelect label={t('plugin.otherVersion')} size="xs" value={to} onChange={(e) => setPicked(e.currentTarget.value)} data={others} />
            <Button size="xs" onClick={() => setAsking('upgrade')}>{older ? t('plugin.downgrade') : t('plugin.upgrade')}</Button>
            {shadows && !(i.shadow?.running && i.shadow.version === to) && <Button size="xs" variant="default" onClick={() => setAsking('shadow')}>{t('plugin.try')}</Button>}
          </div>
        )}
        {others.length > 0 && !can('administer') && <p className="dim">{t('plugin.offered', { list: others.join(', ') })}</p>}
        {previous && (
          <div className={css.pick}>
            <span>{t('plugin.previous', { version: previous })}</span>
            {can('operate') && withdrawn && !withdrawn.has(previous) && <Button size="xs" variant="default" onClick={() => setAsking('rollback')}>{t('plugin.rollback')}</Button>}
          </div>
        )}
        {withdrawn && <WithdrawnList versions={[...new Set([i.version, i.previous ?? '', ...p.versions])]} withdrawn={withdrawn} />}
        {i.shadow && (
          <ShadowReportView report={i.shadow} actions={
            <Group gap="xs">
              {can('administer') && i.shadow.running && !withdrawn?.has(i.shadow.version) && <Button size="xs" onClick={() => setAsking('promote')}>{t('plugin.promote')}</Button>}
              {can('operate') && <Button size="xs" variant="default" onClick={() => setAsking('drop')}>{t('plugin.drop')}</Button>}
            </Group>
          } />
        )}
      </div>
      <Confirm opened={asking !== null} onClose={() => setAsking(null)} title={t(`plugin.ask.${asking ?? 'upgrade'}.title`, words)}
        confirm={t(`plugin.ask.${asking ?? 'upgrade'}.do`)} act={() => run(asking ?? 'upgrade')}>
        {t(`plugin.ask.${asking ?? 'upgrade'}.text`, words)}
      </Confirm>
    </Panel>
  )
}

const shownAtFirst = 4

/** The versions that are not offered, and why, the newest first. */
function WithdrawnList({ versions, withdrawn }: { versions: string[]; withdrawn: Map<string, Withdrawn> }) {
  const { t } = useTranslation()
  const [all, setAll] = useState(false)
  const list = versions.toSorted((a, b) => compareVersions(b, a)).flatMap((version) => {
    const w = withdrawn.get(version)
    return w ? [{ version, ...w }] : []
  })
  if (list.length === 0) return null
  return (
    <div>
      <ul className={css.withdrawn} aria-label={t('plugin.withdrawn')}>
        {list.slice(0, all ? undefined : shownAtFirst).map((w) => (
          <li key={w.version}>
            <strong className="num">{w.version}</strong>
            <StateMark tone={w.how === 'revoked' ? 'bad' : 'warn'}>{t(`market.${w.how}`)}</StateMark>
            <span className="dim">{w.why}</span>
          </li>
        ))}
      </ul>
      {list.length > shownAtFirst && <Button size="compact-xs" variant="default" mt={6} aria-expanded={all} onClick={() => setAll(!all)}>{all ? t('plugin.withdrawnLess') : t('plugin.withdrawnAll', { count: list.length })}</Button>}
    </div>
  )
}

const tones: Record<string, Tone> = { starting: 'busy', waiting: 'busy', probation: 'busy', done: 'good', failed: 'bad', rolled_back: 'bad' }
const going = ['starting', 'waiting', 'probation']

/** What became of the last change of version, and why. */
function LastChange({ upgrade: u }: { upgrade: Upgrade }) {
  const { t } = useTranslation()
  const tone = tones[u.state] ?? 'off'
  return (
    <div className={css.change} data-tone={tone}>
      <div className={css.event}>
        <StateMark tone={tone}>{t(`plugin.upgradeStates.${u.state}` as 'plugin.upgradeStates.done', { defaultValue: u.state })}</StateMark>
        <span className="num">{t('plugin.fromTo', { from: u.from, to: u.to })}</span>
        <Ago at={going.includes(u.state) ? u.began : (u.ended ?? u.began)} />
      </div>
      <p className="dim">{t(`plugin.upgradeMeans.${u.state}` as 'plugin.upgradeMeans.done', { defaultValue: '', from: u.from, to: u.to })}</p>
      {u.reason && <p className="break">{u.reason}</p>}
    </div>
  )
}

/** A version that sees the same as the running one, and what it says differently. */
export function ShadowReportView({ report: r, actions }: { report: ShadowReport; actions?: React.ReactNode }) {
  const { t } = useTranslation()
  return (
    <section className={css.shadow} aria-label={t('plugin.shadow')}>
      <div className={css.pick}>
        <h3>{t('plugin.beside', { version: r.version, against: r.against })}</h3>
        {r.running ? <StateMark tone="busy">{t('state.running')}</StateMark> : <StateMark tone="bad">{t('plugin.shadowEnded')}</StateMark>}
        {actions}
      </div>
      {r.reason && <p className={css.reason} data-bad="">{r.reason}</p>}
      <dl className={css.ledger}>
        <div><dt>{t('plugin.compared')}</dt><dd>{count(r.compared)}</dd></div>
        <div><dt>{t('plugin.skipped')}</dt><dd>{count(r.skipped)}</dd></div>
        <div><dt>{t('plugin.same')}</dt><dd>{count(r.same)}</dd></div>
        <div><dt>{t('plugin.added')}</dt><dd>{count(r.added)}</dd></div>
        <div><dt>{t('plugin.lost')}</dt><dd>{count(r.lost)}</dd></div>
        <div><dt>{t('plugin.errors')}</dt><dd>{count(r.errors)}</dd></div>
        <div><dt>{t('plugin.latency')}</dt><dd>{r.latency_p95_ms ? duration(r.latency_p95_ms / 1000) : '–'}</dd></div>
        <div><dt>{t('plugins.cpu')}</dt><dd>{duration(r.cpu_seconds)}</dd></div>
        <div><dt>{t('plugins.memory')}</dt><dd>{r.memory_bytes ? bytes(r.memory_bytes) : '–'}</dd></div>
      </dl>
      {r.compared === 0 ? <p className="dim">{t('plugin.nothingCompared')}</p>
        : r.added + r.lost === 0 ? <p>{t('plugin.noDifference')}</p>
        : <Differences report={r} />}
    </section>
  )
}

function Differences({ report: r }: { report: ShadowReport }) {
  const { t } = useTranslation()
  const rows = [...(r.added_items ?? []).map((f) => ({ f, added: true })), ...(r.lost_items ?? []).map((f) => ({ f, added: false }))]
  const more = r.added + r.lost - rows.length
  return (
    <div className={ui.tableWrap} tabIndex={0} role="region" aria-label={t('plugin.differences')}>
      <table className={`${ui.table} ${css.diff}`}>
        <caption className="visually-hidden">{t('plugin.differences')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('plugin.difference')}</th>
            <th scope="col">{t('plugin.what')}</th>
            <th scope="col" className={ui.medium}>{t('plugin.capture')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ f, added }, n) => (
            <tr key={n} data-added={added}>
              <td className="num"><b aria-hidden="true">{added ? '+' : '−'}</b> {t('plugin.only', { version: added ? r.version : r.against })}</td>
              <td><What item={f} /></td>
              <td className={`${ui.medium} mono`}>{f.capture ? f.capture.slice(-12) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {more > 0 && <p className="dim">{t('plugin.moreDifferences', { count: more })}</p>}
    </div>
  )
}

function What({ item: f }: { item: ShadowFinding }) {
  if (f.metric) return <span className="mono break">{f.metric}</span>
  return (
    <div className={ui.lines}>
      <span className="break">{f.summary || f.rule}</span>
      <span className={ui.sub}>{[f.rule, f.src && f.dst ? `${f.src} → ${f.dst}` : (f.src ?? f.dst)].filter(Boolean).join(' · ')}</span>
    </div>
  )
}
