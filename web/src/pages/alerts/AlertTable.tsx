import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Alert } from '../../api/types'
import { count } from '../../lib/format'
import '../../locales/alerts'
import { SeverityMark, State } from '../../ui/marks'
import { Techniques } from '../../ui/Techniques'
import { Ago } from '../../ui/Time'
import css from '../../ui/ui.module.css'
import { between } from '../words'

export function AlertTable({ items }: { items: Alert[] }) {
  const { t } = useTranslation()
  return (
    <table className={css.table}>
      <caption className="visually-hidden">{t('alerts.title')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('alerts.severity')}</th>
          <th scope="col">{t('alerts.what')}</th>
          <th scope="col" className={css.wide}>{t('alerts.techniques')}</th>
          <th scope="col" className={`${css.medium} ${css.right}`}>{t('alerts.risk')}</th>
          <th scope="col" className={`${css.wide} ${css.right}`}>{t('alerts.count')}</th>
          <th scope="col" className={css.medium}>{t('alerts.state')}</th>
          <th scope="col">{t('alerts.last')}</th>
        </tr>
      </thead>
      <tbody>
        {items.map((a) => (
          <tr key={a.id} className={css.row}>
            <td><SeverityMark severity={a.severity} /></td>
            <td>
              <Link to="/alerts/$id" params={{ id: a.id }} className={css.main}>{a.title}</Link>
              <div className={css.sub}><span className="mono">{between(a.src, a.dst)}</span> · {a.detector}</div>
            </td>
            <td className={css.wide}><Techniques ids={a.techniques} /></td>
            <td className={`${css.medium} ${css.right} num`}>{a.risk}</td>
            <td className={`${css.wide} ${css.right} num`}>{count(a.count)}</td>
            <td className={css.medium}><State of={a.state} /></td>
            <td><Ago at={a.last_seen} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
