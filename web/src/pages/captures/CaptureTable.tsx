// The captures with what became of them. Several can be chosen and handled together.
import { Button, Checkbox } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Capture } from '../../api/types'
import { useMay } from '../../api/useMay'
import { deedsFor, type CaptureDeed } from '../../lib/captureJobs'
import { bytes, count, wholePercent } from '../../lib/format'
import '../../locales/captures'
import '../../locales/traffic'
import { Confirm } from '../../ui/confirm'
import { Meter, State, StateMark } from '../../ui/marks'
import { Ago } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import css from '../captures.module.css'
import { useDeeds } from './useDeeds'

export function CaptureTable({ items }: { items: Capture[] }) {
  const { t } = useTranslation()
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const selected = items.filter((c) => chosen.has(c.id))
  const choose = (id: string, on: boolean) => setChosen((old) => {
    const next = new Set(old)
    if (on) next.add(id)
    else next.delete(id)
    return next
  })
  const all = selected.length === items.length
  return (
    <>
      {selected.length > 0 && <Together captures={selected} onDone={() => setChosen(new Set())} />}
      <table className={`${ui.table} ${css.table}`}>
        <caption className="visually-hidden">{t('captures.list')}</caption>
        <thead>
          <tr>
            <th scope="col" className={css.pick}>
              <Checkbox size="xs" aria-label={t('traffic.jobs.selectAll')} checked={all} indeterminate={!all && selected.length > 0}
                onChange={() => setChosen(new Set(all ? [] : items.map((c) => c.id)))} />
            </th>
            <th scope="col">{t('captures.name')}</th>
            <th scope="col">{t('captures.state')}</th>
            <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('captures.packets')}</th>
            <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('captures.flows')}</th>
            <th scope="col" className={ui.right}>{t('captures.findings')}</th>
            <th scope="col" className={ui.wide}>{t('captures.added')}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((c) => (
            <tr key={c.id} className={ui.row} data-chosen={chosen.has(c.id) || undefined}>
              <td className={css.pick}>
                <Checkbox size="xs" aria-label={t('traffic.jobs.select', { name: c.name })} checked={chosen.has(c.id)} onChange={(e) => choose(c.id, e.currentTarget.checked)} />
              </td>
              <td>
                <Link to="/captures/$id" params={{ id: c.id }} className={ui.main}>{c.name}</Link>
                <div className={ui.sub}>{bytes(c.size)}</div>
                {c.state === 'failed' && c.error && <div className={css.why}>{c.error}</div>}
                {c.state === 'done' && c.truncated && <div className={ui.sub}>{t(c.packets === 0 ? 'capture.nothing' : 'capture.truncated')}</div>}
              </td>
              <td><CaptureProgress capture={c} /></td>
              <td className={`${ui.medium} ${ui.right} num`}>{count(c.packets)}</td>
              <td className={`${ui.medium} ${ui.right} num`}>{count(c.flows)}</td>
              <td className={`${ui.right} num`}>{c.state === 'done' || c.findings > 0 ? count(c.findings) : '–'}</td>
              <td className={ui.wide}><Ago at={c.created} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  )
}

function Together({ captures, onDone }: { captures: Capture[]; onDone: () => void }) {
  const { t } = useTranslation()
  return (
    <div className={css.together}>
      <strong role="status">{t('traffic.jobs.selected', { count: captures.length })}</strong>
      <CaptureDeeds captures={captures} onDone={onDone} />
      <Button variant="subtle" color="gray" size="xs" onClick={onDone}>{t('traffic.jobs.clear')}</Button>
    </div>
  )
}

/** What can be done with these captures now. Deleting asks first. */
export function CaptureDeeds({ captures, onDone }: { captures: Capture[]; onDone?: (deed: CaptureDeed) => void }) {
  const { t } = useTranslation()
  const can = useMay()
  const [asking, setAsking] = useState(false)
  const { busy, run } = useDeeds(onDone)
  return (
    <>
      {deedsFor(captures, can('captures:admin')).map((deed) => (
        <Button key={deed} variant="default" size="xs" loading={busy === deed} disabled={busy !== null}
          onClick={() => (deed === 'delete' ? setAsking(true) : void run(deed, captures))}>
          {t(`traffic.jobs.${deed}`)}
        </Button>
      ))}
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('traffic.jobs.deleteTitle', { count: captures.length })} confirm={t('traffic.jobs.delete')} danger
        act={() => run('delete', captures)}>
        <p>{t('traffic.jobs.deleteText')}</p>
        <ul className={css.gone}>{captures.slice(0, 8).map((c) => <li key={c.id} className="break">{c.name}</li>)}{captures.length > 8 && <li>…</li>}</ul>
      </Confirm>
    </>
  )
}

export function CaptureProgress({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  if (c.state === 'queued' && c.place) return <StateMark tone="busy">{t('traffic.jobs.place', { place: c.place })}</StateMark>
  if (c.state === 'stopped') return <StateMark tone="off">{t('traffic.jobs.stoppedAt', { part: wholePercent(c.progress) })}</StateMark>
  if (c.state === 'done' && c.truncated) return <StateMark tone={c.packets === 0 ? 'bad' : 'warn'}>{t(c.packets === 0 ? 'traffic.jobs.unreadable' : 'traffic.jobs.brokenOff')}</StateMark>
  if (c.state !== 'running') return <State of={c.state === 'failed' ? 'broken' : c.state} bad={c.state === 'failed'} />
  return (
    <span className={css.progress}>
      <span>{t('captures.analysing', { part: wholePercent(c.progress) })}</span>
      <Meter value={Math.round(c.progress * 100)} of={100} label={t('captures.analysing', { part: wholePercent(c.progress) })} />
    </span>
  )
}
