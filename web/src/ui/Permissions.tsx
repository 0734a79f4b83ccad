import { useTranslation } from 'react-i18next'
import type { Permission } from '../api/types'
import css from '../pages/plugins.module.css'

export function Permissions({ permissions }: { permissions: Permission[] }) {
  const { t } = useTranslation()
  if (permissions.length === 0) return <p className="dim">{t('plugin.noPermissions')}</p>
  return (
    <ul className={css.perms}>
      {permissions.map((p, i) => <li key={i}><PermissionText permission={p} /></li>)}
    </ul>
  )
}

export function PermissionText({ permission: p }: { permission: Permission }) {
  const { t } = useTranslation()
  const args = Object.entries(p.args ?? {})
  return (
    <>
      <span><strong>{t(`caps.${p.cap}` as 'caps.state', { defaultValue: p.cap })}</strong> <code className="dim">{p.cap}</code></span>
      {args.length > 0 && (
        <span className={css.args}>
          {args.map(([name, values]) => <span key={name}>{name} <span className="mono break">{values?.join(', ') || '∅'}</span></span>)}
        </span>
      )}
      {p.reason && <span className="dim">{p.reason}</span>}
    </>
  )
}
