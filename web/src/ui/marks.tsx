// Small marks that say more than a word: each carries its meaning in shape, number and text, colour comes last.
import { useTranslation } from 'react-i18next'
import { severities, type Agent, type Severity } from '../api/types'
import css from './ui.module.css'

/** Five pickets, as many filled as the severity ranks. */
export function SeverityMark({ severity, label = true }: { severity: string; label?: boolean }) {
  const { t } = useTranslation()
  const rank = (severities as readonly string[]).indexOf(severity) + 1
  const name = rank > 0 ? t(`severity.${severity as Severity}`) : severity
  return (
    <span className={css.sev} data-severity={severity}>
      <svg width="23" height="14" viewBox="0 0 23 14" role={label ? undefined : 'img'} aria-hidden={label || undefined}
        aria-label={label ? undefined : name} focusable="false">
        {[0, 1, 2, 3, 4].map((i) => {
          const top = 8 - i * 2
          const x = i * 4.750
          return <path key={i} className={i < rank ? css.sevOn : css.sevOff} d={`M${x} 14v-${14 - top - 2}l1.750-2 1.750 2v${14 - top - 2}z`} />
        })}
      </svg>
      {label && <span>{name}</span>}
    </span>
  )
}

export type Tone = 'good' | 'warn' | 'bad' | 'busy' | 'off'

const shapes: Record<Tone, React.ReactNode> = {
  good: <circle cx="5" cy="5" r="4.500" fill="currentColor" />,
  warn: <path d="M5 .8 9.600 9.200H.4z" fill="currentColor" />,
  bad: <path d="M.8.8h8.400v8.400H.8z" fill="currentColor" />,
  busy: <path d="M5 .5a4.500 4.500 0 0 1 0 9zM5 .5a4.500 4.500 0 0 0 0 9" fill="currentColor" fillRule="evenodd" stroke="currentColor" />,
  off: <circle cx="5" cy="5" r="3.800" fill="none" stroke="currentColor" strokeWidth="1.500" />,
}

export function StateMark({ tone, children }: { tone: Tone; children: React.ReactNode }) {
  return (
    <span className={css.state} data-tone={tone}>
      <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true" focusable="false">{shapes[tone]}</svg>
      <span>{children}</span>
    </span>
  )
}

const tones: Record<string, Tone> = {
  ready: 'good', online: 'good', done: 'good', delivered: 'good', resolved: 'good', ok: 'good', closed: 'good',
  degraded: 'warn', backoff: 'warn', late: 'warn', failed: 'warn', acknowledged: 'busy',
  quarantined: 'bad', revoked: 'bad', refused: 'bad', dead: 'bad', firing: 'bad', open: 'bad',
  staged: 'busy', starting: 'busy', draining: 'busy', queued: 'busy', running: 'busy', sent: 'busy',
  waiting: 'busy', stopped: 'off', offline: 'off', expired: 'off', cancelled: 'off', denied: 'off',
}

export const toneOf = (state: string): Tone => tones[state] ?? 'off'

/** A state of the API in words. An unknown one is shown as it came. */
export function State({ of, bad }: { of: string; bad?: boolean }) {
  const { t } = useTranslation()
  return <StateMark tone={bad ? 'bad' : toneOf(of)}>{t(`state.${of}` as 'state.ready', { defaultValue: of })}</StateMark>
}

/** How a machine stands; one that is shut out may still be trying. */
export function MachineState({ agent }: { agent: Pick<Agent, 'state' | 'disabled'> }) {
  const { t } = useTranslation()
  return agent.disabled ? <StateMark tone="warn">{t('state.shutOut')}</StateMark> : <State of={agent.state} />
}

/** A number from 0 to `of`, as a bar with the number beside it. */
export function Meter({ value, of, label, tone }: { value: number; of: number; label: string; tone?: 'bad' }) {
  const part = Math.max(0, Math.min(1, of > 0 ? value / of : 0))
  return (
    <span className={css.meter} role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={of} aria-valuenow={value} data-tone={tone}>
      <span style={{ width: `${part * 100}%` }} />
    </span>
  )
}
