import { useInfiniteQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { audit } from '../api/queries'
import { State } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList } from '../ui/states'
import { Time } from '../ui/Time'
import ui from '../ui/ui.module.css'

export function AuditPage() {
  const { t } = useTranslation()
  const query = useInfiniteQuery(audit)
  return (
    <Page title={t('audit.title')} lead={t('audit.lead')}>
      <Panel title={t('audit.list')} flush>
        <LoadedList query={query} empty={<Empty title={t('audit.none')} />}>
          {(items) => (
            <table className={ui.table}>
              <caption className="visually-hidden">{t('audit.list')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('audit.time')}</th>
                  <th scope="col">{t('audit.action')}</th>
                  <th scope="col" className={ui.medium}>{t('audit.actor')}</th>
                  <th scope="col">{t('audit.outcome')}</th>
                  <th scope="col" className={ui.wide}>{t('audit.address')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((e) => (
                  <tr key={e.id}>
                    <td><Time at={e.time} /></td>
                    <td className="break">
                      <strong>{e.action}</strong> {e.object && <span className="mono">{e.object}</span>}
                      {e.detail && <div className={ui.sub}>{e.detail}</div>}
                    </td>
                    <td className={`${ui.medium} break`}>{e.actor}</td>
                    <td>{e.outcome ? <State of={e.outcome} bad={e.outcome === 'refused'} /> : '–'}</td>
                    <td className={`${ui.wide} mono`}>{e.address || '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </LoadedList>
      </Panel>
    </Page>
  )
}
