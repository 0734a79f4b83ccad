// What a tenant has of what it may have.
import '../../locales/tenants'
import { useTranslation } from 'react-i18next'
import type { Tenant } from '../../api/tenants'
import { bytes, count } from '../../lib/format'
import { Meter, StateMark } from '../../ui/marks'
import ui from '../../ui/ui.module.css'
import css from './tenants.module.css'

export const quotaNames = ['users', 'agents', 'tokens', 'series', 'capture_bytes', 'flows'] as const
export type QuotaName = (typeof quotaNames)[number]

export const said = (name: QuotaName, value: number): string => (name === 'capture_bytes' ? bytes(value) : count(value))

/** How much there is of one thing, with a bar where it is bounded. */
export function Has({ of, name }: { of: Tenant; name: QuotaName }) {
  const { t } = useTranslation()
  const [have, most] = [of.use[name], of.quotas[name]]
  if (most === 0) return <>{said(name, have)}</>
  const words = t('tenants.of', { have: said(name, have), most: said(name, most) })
  return (
    <span className={css.has}>
      <span>{words}</span>
      <Meter value={have} of={most} label={`${t(`tenants.names.${name}`)}: ${words}`} {...(have >= most ? { tone: 'bad' as const } : {})} />
    </span>
  )
}

export function Use({ of }: { of: Tenant }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('tenants.use')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('tenants.quota')}</th>
          <th scope="col">{t('tenants.has')}</th>
        </tr>
      </thead>
      <tbody>
        {quotaNames.map((name) => (
          <tr key={name}>
            <td>{t(`tenants.names.${name}`)}</td>
            <td>
              {of.quotas[name] === 0 ? t('tenants.unbounded', { have: said(name, of.use[name]) }) : <Has of={of} name={name} />}
              {of.quotas[name] > 0 && of.use[name] >= of.quotas[name] && <StateMark tone="bad">{t('tenants.full')}</StateMark>}
              {!!of.refused[name] && <div className={ui.sub}>{t('tenants.refused', { count: of.refused[name] })}</div>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
