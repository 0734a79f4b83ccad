import '../../locales/market'
import { Button, Group } from '@mantine/core'
import { useQueryClient, type UseQueryResult } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { isRolloutOver, rollout, type Fleet, type Rollout, type RolloutDeed, type RolloutNode } from '../../api/market'
import { pluginPath } from '../../api/queries'
import { useMay } from '../../api/useMay'
import { duration } from '../../lib/format'
import { configOf, rolloutDeeds, rolloutProgress } from '../../lib/market'
import '../../locales/plugins'
import { Confirm } from '../../ui/confirm'
import { Meter, StateMark, type Tone } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Problem } from '../../ui/states'
import { Ago, useNow } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './fleet.module.css'

const tones: Record<Rollout['state'], Tone> = { canary: 'busy', rolling: 'busy', waiting: 'warn', paused: 'warn', halted: 'bad', 'rolled back': 'bad', done: 'good' }
const shownAtFirst = 3

/** What is being rolled out, and how the last ones ended. */
export function Rollouts({ query, fleet: f }: { query: UseQueryResult<{ items: Rollout[] }>; fleet: Fleet }) {
  const { t } = useTranslation()
  const [all, setAll] = useState(false)
  if (query.isError) return <Problem error={query.error} retry={() => void query.refetch()} />
  const items = query.data?.items ?? []
  if (items.length === 0) return null
  const going = items.filter((r) => !isRolloutOver(r))
  const over = items.filter(isRolloutOver)
  const shown = [...going, ...(all ? over : over.slice(0, Math.max(0, shownAtFirst - going.length)))]
  return (
    <Panel title={t('rollout.title')} hint={going.length > 0 ? t('rollout.going', { count: going.length }) : undefined} flush>
      <ul className={css.rollouts}>{shown.map((r) => <RolloutRow key={r.id} rollout={r} title={f.plugins.find((p) => p.id === r.plugin)?.title} />)}</ul>
      {shown.length < items.length && <div className={ui.more}><Button size="xs" variant="default" onClick={() => setAll(true)}>{t('rollout.all', { count: items.length })}</Button></div>}
    </Panel>
  )
}

/** One of them, wherever it is shown. */
export function RolloutRow({ rollout: r, title }: { rollout: Rollout; title?: string }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const [asking, setAsking] = useState<RolloutDeed | null>(null)
  const [open, setOpen] = useState(false)
  const progress = rolloutProgress(r)
  const from = [...new Set(r.nodes.map((n) => n.from).filter(Boolean))].join(', ')
  const config = configOf(r)
  const name = config ? t(`rollout.config.${config.of}`, { name: config.name }) : title || r.plugin
  const run = async (deed: RolloutDeed) => {
    await (deed === 'resume' ? rollout.resume(r.id, r.state === 'waiting' ? 'all' : undefined) : rollout[deed](r.id))
    tell.done(t(`rollout.did.${deed}`))
    await client.invalidateQueries({ queryKey: ['fleet'] })
  }
  return (
    <li className={css.rollout} data-state={r.state}>
      <div className={css.rolloutHead}>
        <h3>{config ? <Link to="/config/$target" params={{ target: r.target ?? '' }} className={css.name}>{name}</Link> : <Link to="/plugins/$ns/$name" params={pluginPath(r.plugin)} className={css.name}>{name}</Link>} <span className="num">{from ? t('plugin.fromTo', { from, to: r.version }) : r.version}</span></h3>
        <StateMark tone={tones[r.state] ?? 'off'}>{t(`rollout.states.${r.state}`, { defaultValue: r.state })}</StateMark>
        <span className={`dim ${css.small}`}>{!config && `${r.group === 'all' || !r.group ? t('enable.agents') : t('install.group', { group: r.group })} · `}{r.by} · <Ago at={r.created} /></span>
        {can('operate') && (
          <Group gap="xs" className={css.push}>
            {rolloutDeeds(r.state).map((deed) => <Button key={deed} size="compact-xs" variant="default" onClick={() => setAsking(deed)} aria-label={t('rollout.doOne', { what: t(`rollout.deeds.${deed}`), name })}>{t(`rollout.deeds.${deed}`)}</Button>)}
          </Group>
        )}
      </div>
      {r.reason && <p className={css.reason} data-bad={r.state === 'halted' || r.state === 'rolled back' || undefined}>{r.reason}</p>}
      <div className={css.progress}>
        <Meter value={progress.done} of={progress.total} label={t('rollout.progress', { name })} tone={progress.failed > 0 ? 'bad' : undefined} />
        <p className={`dim ${css.small}`}>
          <span className="num">{t('rollout.doneOf', { done: progress.done, count: progress.total })}</span>
          {progress.failed > 0 && <> · <span className="num">{t('rollout.failedOf', { count: progress.failed, most: r.max_failures })}</span></>}
          {r.soak_ends && <> · <SoakEnds at={r.soak_ends} /></>}
        </p>
      </div>
      <button type="button" className={css.unfold} aria-expanded={open} onClick={() => setOpen(!open)}>{open ? t('rollout.hide') : t('rollout.show')}</button>
      {open && <Nodes nodes={r.nodes} />}
      <Confirm opened={asking !== null} onClose={() => setAsking(null)} danger={asking === 'halt'} title={t(`rollout.ask.${asking ?? 'pause'}.title`, { name })} confirm={t(`rollout.deeds.${asking ?? 'pause'}`)} act={() => run(asking ?? 'pause')}>
        {t(asking === 'resume' && r.state === 'waiting' ? 'rollout.ask.resume.grants' : `rollout.ask.${asking ?? 'pause'}.text`, { version: r.version })}
      </Confirm>
    </li>
  )
}

function SoakEnds({ at }: { at: string }) {
  const { t } = useTranslation()
  const left = (new Date(at).getTime() - useNow().getTime()) / 1000
  return <>{left > 0 ? t('rollout.soaks', { time: duration(left) }) : t('rollout.soon')}</>
}

const nodeTones: Record<RolloutNode['state'], Tone> = { waiting: 'off', updating: 'busy', updated: 'good', failed: 'bad', 'going back': 'warn', 'rolled back': 'warn' }

function Nodes({ nodes }: { nodes: RolloutNode[] }) {
  const { t } = useTranslation()
  return (
    <div className={ui.tableWrap}>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('rollout.nodes')}</caption>
        <thead><tr><th scope="col">{t('machines.name')}</th><th scope="col">{t('plugins.state')}</th><th scope="col" className={ui.medium}>{t('plugins.version')}</th></tr></thead>
        <tbody>
          {nodes.map((n) => (
            <tr key={n.id}>
              <td>{n.name || n.id}{n.canary && <div className={ui.sub}>{t('rollout.isCanary')}</div>}</td>
              <td><span className={ui.lines}><StateMark tone={nodeTones[n.state] ?? 'off'}>{t(`rollout.nodeStates.${n.state}`, { defaultValue: n.state })}</StateMark>{n.reason && <span className={ui.sub}>{n.reason}</span>}</span></td>
              <td className={`${ui.medium} num`}>{t('plugin.fromTo', { from: n.from || '–', to: n.to })}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
