// An installation as it goes: each step, how far it is, and after a failure what was taken back.
import { Button, Group } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect } from 'react'
import { useTranslation } from 'react-i18next'
import { installJob, isInstallOver, type InstallJob, type InstallStep } from '../../api/market'
import { pluginPath } from '../../api/queries'
import { bytes } from '../../lib/format'
import { Meter, StateMark, type Tone } from '../../ui/marks'
import { Loaded } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import css from './card.module.css'

interface Props {
  job: string
  /** Whether it has a page of its own among the plugins. */
  runs: boolean
  onClose: () => void
  onRetry: () => void
}

export function Progress({ job, runs, onClose, onRetry }: Props) {
  const query = useQuery(installJob(job))
  const client = useQueryClient()
  const over = isInstallOver(query.data)
  useEffect(() => {
    if (!over) return
    for (const key of ['market', 'plugins', 'fleet', 'overview']) {
      void client.invalidateQueries({ predicate: (q) => q.queryKey[0] === key && q.queryKey[1] !== 'install' })
    }
  }, [over, client])
  return <Loaded query={query} rows={6}>{(state) => <Steps job={state} runs={runs} onClose={onClose} onRetry={onRetry} />}</Loaded>
}

const tones: Record<InstallStep['state'], Tone> = { waiting: 'off', running: 'busy', done: 'good', failed: 'bad', skipped: 'off', 'rolled back': 'warn' }

function Steps({ job, runs, onClose, onRetry }: Omit<Props, 'job'> & { job: InstallJob }) {
  const { t } = useTranslation()
  const failed = job.state === 'failed' || job.state === 'rollback failed'
  return (
    <div className={ui.form}>
      <ol className={css.steps} aria-label={t('install.steps')}>
        {job.steps.map((s) => (
          <li key={s.name} data-state={s.state}>
            <div className={css.gate}>
              <strong>{t(`install.step.${s.name as 'verify'}`, { defaultValue: s.name })}</strong>
              <StateMark tone={tones[s.state] ?? 'off'}>{t(`install.stepStates.${s.state}`, { defaultValue: s.state })}</StateMark>
            </div>
            {s.state === 'running' && s.total > 0 && (
              <>
                <Meter value={s.done} of={s.total} label={t(`install.step.${s.name as 'verify'}`, { defaultValue: s.name })} />
                {s.name === 'download' && <span className="dim num">{t('install.fetched', { done: bytes(s.done), total: bytes(s.total) })}</span>}
              </>
            )}
            {s.text && <p className="dim break">{s.text}</p>}
          </li>
        ))}
      </ol>
      <div role="status" aria-live="polite">
        {job.state === 'running' && <p className="dim">{t('install.running')}</p>}
        {job.state === 'done' && <p className={css.done}><StateMark tone="good">{t('install.done', { version: job.version })}</StateMark></p>}
      </div>
      {failed && (
        <div className={ui.error} role="alert">
          <strong>{t(job.state === 'failed' ? 'install.failed' : 'install.stuck')}</strong>
          {job.error && <span className="break">{job.error}</span>}
          {job.undone.length > 0 && <><span>{t('install.undone')}</span><ul className={css.undone}>{job.undone.map((u) => <li key={u}>{u}</li>)}</ul></>}
          <span className="dim">{t(job.state === 'failed' ? 'install.failedText' : 'install.stuckText')}</span>
        </div>
      )}
      <Group justify="flex-end" gap="xs">
        {failed && <Button variant="default" onClick={onRetry}>{t('install.retry')}</Button>}
        {job.state === 'done' && runs && <Button component={Link} to="/plugins/$ns/$name" params={pluginPath(job.plugin) as never} variant="default">{t('card.open')}</Button>}
        <Button variant={job.state === 'done' ? 'filled' : 'default'} onClick={onClose}>{job.state === 'running' ? t('install.background') : t('close')}</Button>
      </Group>
    </div>
  )
}
