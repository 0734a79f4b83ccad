import { useTranslation } from 'react-i18next'
import type { Permission } from '../api/types'
import { resolved } from '../lib/configForm'
import { riskOf, type RiskLevel } from '../lib/risk'
import '../locales/market'
import '../locales/plugins'
import { StateMark, type Tone } from './marks'
import css from './ui.module.css'

export function Permissions({ permissions, risk }: { permissions: Permission[]; /** With the most that could go wrong. */ risk?: boolean }) {
  const { t } = useTranslation()
  if (permissions.length === 0) return <p className="dim">{t('plugin.noPermissions')}</p>
  return (
    <ul className={css.perms}>
      {permissions.map((p, i) => <li key={i}><PermissionText permission={p} risk={risk} />{risk && p.optional && <em className="dim">{t('enable.optional')}</em>}</li>)}
    </ul>
  )
}

/** With a configuration, its references to settings show what they stand for. */
export function PermissionText({ permission: p, config = {}, risk }: { permission: Permission; config?: Record<string, unknown>; risk?: boolean }) {
  const { t } = useTranslation()
  return (
    <>
      <span><strong>{t(`caps.${p.cap}` as 'caps.state', { defaultValue: p.cap })}</strong> <code className="dim">{p.cap}</code></span>
      <PermissionArgs permission={p} config={config} />
      {p.reason && <span className="dim">{p.reason}</span>}
      {risk && <RiskText permission={p} />}
    </>
  )
}

export function PermissionArgs({ permission: p, config = {} }: { permission: Permission; config?: Record<string, unknown> }) {
  const { t } = useTranslation()
  const args = Object.entries(p.args ?? {})
  if (args.length === 0) return null
  // What is not set yet is said in words.
  const inWords = (value: string) => value.replace(/\$\{config\.([^}]*)\}/g, (_, name: string) => t('plugin.yourSetting', { name }))
  return (
    <span className={css.args}>
      {args.map(([name, values]) => <span key={name}>{name} <span className="mono break">{resolved(values ?? [], config).map(inWords).join(', ') || '∅'}</span></span>)}
    </span>
  )
}

const tones: Record<RiskLevel, Tone> = { low: 'good', medium: 'warn', high: 'bad' }

/** The highest risk of what is asked for. */
export function RiskMark({ level }: { level: RiskLevel | null }) {
  const { t } = useTranslation()
  return level && <StateMark tone={tones[level]}>{t(`risk.levels.${level}`)}</StateMark>
}

/** The most that a permission could be misused for, apart from what its author says. */
function RiskText({ permission: p }: { permission: Permission }) {
  const { t } = useTranslation()
  const { level, reason } = riskOf(p)
  return <span className={css.risk} data-risk={level}><RiskMark level={level} /> <span>{t(`risk.why.${reason}`)}</span></span>
}
