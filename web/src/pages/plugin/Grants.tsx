import { useTranslation } from 'react-i18next'
import type { Explanation, Permission, Use } from '../../api/types'
import { bytes, count } from '../../lib/format'
import { isObserved, permissionRows, type PermissionRow } from '../../lib/usage'
import '../../locales/plugins'
import { StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { PermissionArgs, PermissionText } from '../../ui/Permissions'
import ui from '../../ui/ui.module.css'
import css from '../plugins.module.css'

/** What the plugin asks for, what it was granted here, and what it used of it. */
export function Grants({ explanation: e, config }: { explanation: Explanation; config: Record<string, unknown> }) {
  const { t } = useTranslation()
  const rows = permissionRows(e.asked, e.granted, e.release)
  const known = e.release.confinement !== undefined
  return (
    <Panel title={t('plugin.permissions')} hint={t('plugin.grantsHint')} flush>
      {rows.length === 0 ? <p className={`dim ${css.pad}`}>{t('plugin.noPermissions')}</p> : (
        <table className={`${ui.table} ${css.grants}`}>
          <caption className="visually-hidden">{t('plugin.permissions')}</caption>
          <thead>
            <tr>
              <th scope="col">{t('plugin.asked')}</th>
              <th scope="col">{t('plugin.granted')}</th>
              <th scope="col">{t('plugin.used')}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((r, n) => (
              <tr key={n}>
                <td data-label={t('plugin.asked')}><div className={ui.lines}><Asked row={r} /></div></td>
                <td data-label={t('plugin.granted')}><Granted permission={r.granted} config={config} optional={r.asked?.optional} /></td>
                <td data-label={t('plugin.used')}><Used row={r} known={known} incomplete={!!e.incomplete} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {!!e.release.used_more && <p className={`dim ${css.pad}`}>{t('plugin.usedMore', { count: e.release.used_more })}</p>}
    </Panel>
  )
}

function Asked({ row }: { row: PermissionRow }) {
  const { t } = useTranslation()
  if (row.asked) return <PermissionText permission={row.asked} />
  const cap = row.granted?.cap ?? row.uses[0]?.cap ?? ''
  return <><span><strong>{t(`caps.${cap}` as 'caps.state', { defaultValue: cap })}</strong> <code className="dim">{cap}</code></span><StateMark tone="bad">{t('plugin.notAsked')}</StateMark></>
}

function Granted({ permission: p, config, optional }: { permission?: Permission; config: Record<string, unknown>; optional?: boolean }) {
  const { t } = useTranslation()
  if (!p) return <StateMark tone="off">{optional ? t('plugin.notGrantedOptional') : t('plugin.notGranted')}</StateMark>
  return <div className={ui.lines}><StateMark tone="good">{t('plugin.granted')}</StateMark><PermissionArgs permission={p} config={config} /></div>
}

function Used({ row, known, incomplete }: { row: PermissionRow; known: boolean; incomplete: boolean }) {
  const { t } = useTranslation()
  const cap = (row.asked ?? row.granted)?.cap ?? ''
  if (row.uses.length > 0) return <ul className={css.uses}>{row.uses.map((u) => <li key={u.detail}><OneUse use={u} /></li>)}</ul>
  if (incomplete) return <span className="dim">{t('plugin.useElsewhere')}</span>
  if (!known) return <span className="dim">–</span>
  if (row.unused) return <StateMark tone="warn">{t('plugin.neverUsed')}</StateMark>
  return <span className="dim">{isObserved(cap) ? t('plugin.notUsed') : t('plugin.notObserved')}</span>
}

function OneUse({ use: u }: { use: Use }) {
  const { t } = useTranslation()
  return (
    <>
      <span className="mono break">{u.detail}</span>
      <span className="dim">
        {[u.count > 0 && t('plugin.times', { count: u.count, n: count(u.count) }), u.bytes_in + u.bytes_out > 0 && t('plugin.traffic', { in: bytes(u.bytes_in), out: bytes(u.bytes_out) })].filter(Boolean).join(' · ')}
      </span>
      {u.denied > 0 && (
        <>
          <StateMark tone="bad">{t('plugin.denied', { count: u.denied, n: count(u.denied) })}</StateMark>
          {u.last_refusal && <span className="dim break">{u.last_refusal}</span>}
        </>
      )}
    </>
  )
}
