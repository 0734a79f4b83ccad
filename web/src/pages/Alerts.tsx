import { NativeSelect, SegmentedControl } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { alerts } from '../api/queries'
import { alertStates, severities, type Alert, type Severity } from '../api/types'
import { count } from '../lib/format'
import { SeverityMark, State } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList } from '../ui/states'
import { Techniques } from '../ui/Techniques'
import { Ago } from '../ui/Time'
import css from '../ui/ui.module.css'
import { between } from './words'

const states = [...alertStates, 'all'] as const

export function AlertsPage() {
  const { t } = useTranslation()
  const search = useSearch({ from: '/inside/alerts' })
  const navigate = useNavigate({ from: '/alerts' })
  const state = search.state ?? (search.capture ? 'all' : 'firing')
  const query = useInfiniteQuery(
    alerts({ state: state === 'all' ? undefined : state, severity: search.severity, capture: search.capture }),
  )
  const change = (part: Partial<typeof search>) => void navigate({ search: { ...search, ...part }, replace: true })
  return (
    <Page
      title={t('alerts.title')}
      lead={search.capture ? t('alerts.ofCapture') : t('alerts.lead')}
      actions={
        <>
          <SegmentedControl aria-label={t('alerts.state')} size="xs" value={state} onChange={(v) => change({ state: v as typeof state })}
            data={states.map((s) => ({ value: s, label: t(`alerts.filter.${s}`) }))} />
          <NativeSelect aria-label={t('alerts.severity')} size="xs" w={140} value={search.severity ?? ''}
            onChange={(e) => change({ severity: (e.currentTarget.value || undefined) as Severity | undefined })}
            data={[{ value: '', label: t('alerts.anySeverity') }, ...severities.toReversed().map((s) => ({ value: s as string, label: t(`severity.${s}`) }))]} />
        </>
      }
    >
      <Panel title={t(`alerts.filter.${state}`)} flush>
        <LoadedList
          query={query}
          empty={
            <Empty title={state === 'firing' ? t('alerts.none') : t('alerts.noneFiltered')} action={<Link to="/captures">{t('alerts.drop')}</Link>}>
              {t('alerts.noneText')}
            </Empty>
          }
        >
          {(items) => <AlertTable items={items} />}
        </LoadedList>
      </Panel>
    </Page>
  )
}

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
