import { useTranslation } from 'react-i18next'
import type { Permission } from '../api/types'
import { resolved } from '../lib/configForm'
import css from './ui.module.css'

export function Permissions({ permissions }: { permissions: Permission[] }) {
  const { t } = useTranslation()
  if (permissions.length === 0) return <p className="dim">{t('plugin.noPermissions')}</p>
  return (
    <ul className={css.perms}>
      {permissions.map((p, i) => <li key={i}><PermissionText permission={p} /></li>)}
    </ul>
  )
}

/** With a configuration, its references to settings show what they stand for. */
export function PermissionText({ permission: p, config = {} }: { permission: Permission; config?: Record<string, unknown> }) {
  const { t } = useTranslation()
  return (
    <>
      <span><strong>{t(`caps.${p.cap}` as 'caps.state', { defaultValue: p.cap })}</strong> <code className="dim">{p.cap}</code></span>
      <PermissionArgs permission={p} config={config} />
      {p.reason && <span className="dim">{p.reason}</span>}
    </>
  )
}

export function PermissionArgs({ permission: p, config = {} }: { permission: Permission; config?: Record<string, unknown> }) {
  const args = Object.entries(p.args ?? {})
  if (args.length === 0) return null
  return (
    <span className={css.args}>
      {args.map(([name, values]) => <span key={name}>{name} <span className="mono break">{resolved(values ?? [], config).join(', ') || '∅'}</span></span>)}
    </span>
  )
}
