// How people judged an alert or an incident, and judging it.
import { Button, Textarea } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { incident, judge } from '../../api/incidents'
import { verdicts, type Feedback, type IncidentDetail, type Verdict } from '../../api/types'
import { useMay } from '../../api/useMay'
import { Panel } from '../../ui/Page'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import css from './incidents.module.css'
import { ownerName } from './owner'

interface Props {
  of: { alert: string } | { incident: string }
  /** Whose risk it changes. */
  incident: string | undefined
  feedback: Feedback[]
}

export function Judge({ of, incident: id, feedback }: Props) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const [note, setNote] = useState('')
  const [busy, setBusy] = useState<string | null>(null)

  /** The incident is weighed before the server answers. */
  const weighed = async (): Promise<IncidentDetail | undefined> => {
    await Promise.all([client.invalidateQueries({ queryKey: ['alerts'] }), client.invalidateQueries({ queryKey: ['incidents'], refetchType: 'none' })])
    const fresh = id ? await client.fetchQuery({ ...incident(id), staleTime: 0 }) : undefined
    void client.invalidateQueries({ queryKey: ['incidents'] })
    return fresh
  }
  const run = async (what: string, act: () => Promise<unknown>, said: (before: number | undefined, now: number | undefined) => string) => {
    setBusy(what)
    try {
      const before = id ? client.getQueryData(incident(id).queryKey)?.risk : undefined
      await act()
      const fresh = await weighed()
      tell.done(said(before, fresh?.risk))
    } catch (error) {
      tell.failed(error)
    }
    setBusy(null)
  }
  const say = (verdict: Verdict) => run(verdict, async () => {
    await ('alert' in of ? judge.alert(of.alert, verdict, note.trim()) : judge.incident(of.incident, verdict, note.trim()))
    setNote('')
  }, (before, now) => {
    const words = t(`incident.verdict.${verdict}`)
    return before !== undefined && now !== undefined && before !== now ? t('incident.saidRisk', { verdict: words, before, now }) : t('incident.said', { verdict: words })
  })

  return (
    <Panel title={t('incident.judge')}>
      {can('watch') && (
        <>
          <p className="dim">{t('alert' in of ? 'incident.judgeAlert' : 'incident.judgeIncident')}</p>
          <Textarea mt="xs" mb="xs" size="xs" autosize minRows={1} maxLength={2000} label={t('incident.note')} value={note} onChange={(e) => setNote(e.currentTarget.value)} />
          <div className={css.verdicts}>
            {verdicts.map((v) => (
              <Button key={v} size="xs" variant="default" title={t(`incident.verdictHint.${v}`)} loading={busy === v} onClick={() => void say(v)}>{t(`incident.verdict.${v}`)}</Button>
            ))}
          </div>
        </>
      )}
      <ul className={css.entries} aria-label={t('incident.judge')}>
        {feedback.length === 0 && <li className="dim">{t('incident.noJudgement')}</li>}
        {feedback.map((f) => (
          <li key={f.id}>
            <span className={css.entryHead}>
              <strong>{t(`incident.verdict.${f.verdict}`)}</strong>
              <span className="dim">{t(f.alert_id ? 'incident.ofAlert' : 'incident.ofIncident')} · {ownerName(f.by)} · <Ago at={f.time} /></span>
            </span>
            {f.note && <span className={css.text}>{f.note}</span>}
            {can('watch') && (
              <Button variant="subtle" size="compact-xs" loading={busy === f.id} aria-label={t('incident.takeBackOne', { verdict: t(`incident.verdict.${f.verdict}`), by: ownerName(f.by) })}
                onClick={() => void run(f.id, () => judge.takeBack(f.id), () => t('incident.tookBack'))}>{t('incident.takeBack')}</Button>
            )}
          </li>
        ))}
      </ul>
    </Panel>
  )
}
