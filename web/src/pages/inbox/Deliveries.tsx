// What notifiers were told, why it failed, and the way to have it sent again.
import '../../locales/inbox'
import { Button, SegmentedControl } from '@mantine/core'
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { deliveries, deliveryStates, sendAgain, type Delivery, type DeliveryState } from '../../api/inbox'
import { useMay } from '../../api/useMay'
import { StateMark, toneOf } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loading, Problem } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './inbox.module.css'

export function DeliveriesPage() {
  const { t } = useTranslation()
  const { state } = useSearch({ from: '/inside/deliveries' })
  const navigate = useNavigate({ from: '/deliveries' })
  const query = useInfiniteQuery(deliveries(state))
  const items = query.data ?? []
  return (
    <Page title={t('deliveries.title')} lead={t('deliveries.lead')} back={{ to: '/inbox', label: t('inbox.title') }} actions={(
      <SegmentedControl className={css.states} aria-label={t('deliveries.which')} value={state ?? ''} onChange={(v) => void navigate({ search: v ? { state: v as DeliveryState } : {} })}
        data={[{ value: '', label: t('deliveries.any') }, ...(['dead', 'failed', 'queued', 'delivered'] as const satisfies readonly (typeof deliveryStates)[number][]).map((s) => ({ value: s as string, label: t(`deliveries.short.${s}`) }))]} />
    )}>
      <Panel title={t('deliveries.title')} flush>
        {query.isError && <Problem error={query.error} retry={() => void query.refetch()} />}
        {query.isPending && <Loading />}
        {query.isSuccess && items.length === 0 && <Empty title={t(state ? 'deliveries.noneOf' : 'deliveries.none')}>{!state && t('deliveries.noneText')}</Empty>}
        {items.length > 0 && <List items={items} />}
        {query.hasNextPage && <div className={ui.more}><Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t('inbox.more')}</Button></div>}
      </Panel>
    </Page>
  )
}

function List({ items }: { items: Delivery[] }) {
  const { t } = useTranslation()
  const may = useMay()('actions:write')
  const client = useQueryClient()
  const tell = useTell()
  const [busy, setBusy] = useState('')
  const again = async (d: Delivery) => {
    setBusy(d.id)
    try {
      await sendAgain(d.id)
      tell.done(t('deliveries.sent'))
      await client.invalidateQueries({ queryKey: ['deliveries'] })
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy('')
    }
  }
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('deliveries.title')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('deliveries.what')}</th>
          <th scope="col" className={ui.medium}>{t('deliveries.notifier')}</th>
          <th scope="col">{t('deliveries.state')}</th>
          <th scope="col" className={ui.wide}>{t('deliveries.when')}</th>
          {may && <th scope="col"><span className="visually-hidden">{t('deliveries.deeds')}</span></th>}
        </tr>
      </thead>
      <tbody>
        {items.map((d) => (
          <tr key={d.id} className={ui.row} data-delivery={d.id}>
            <td className="break">
              <Link className={ui.main} to="/alerts/$id" params={{ id: d.alert_id }}>{d.title}</Link>
              <div className={ui.sub}>{t(`inbox.events.${d.event as 'alert.firing'}`, { defaultValue: d.event })}<span className={css.onPhone}>, {d.notifier}</span></div>
            </td>
            <td className={`${ui.medium} break`}>{d.notifier}</td>
            <td className="break">
              <StateMark tone={toneOf(d.state)}>{t(`deliveries.short.${d.state}`)}</StateMark>
              <div className={ui.sub}>{t('deliveries.tries', { count: d.attempts })}{d.due && d.state === 'failed' && <>, {t('deliveries.next')} <Time at={d.due} /></>}</div>
              {d.last_error && d.state !== 'delivered' && <div className={ui.sub}>{d.last_error}</div>}
              {d.receipt?.foreign_id && <div className={`${ui.sub} mono`}>{d.receipt.foreign_id}</div>}
            </td>
            <td className={ui.wide}><Ago at={d.time} /></td>
            {may && (
              <td>
                {(d.state === 'dead' || d.state === 'failed') && <Button size="compact-sm" variant="default" className={css.mark} loading={busy === d.id} aria-label={t('deliveries.againOne', { title: d.title, notifier: d.notifier })} onClick={() => void again(d)}>{t('deliveries.again')}</Button>}
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  )
}
