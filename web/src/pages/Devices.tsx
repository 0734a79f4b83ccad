import { NativeSelect, TextInput } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { devices, deviceSorts, type DeviceSort } from '../api/queries'
import type { Device } from '../api/types'
import { deviceName } from '../lib/devices'
import '../locales/devices'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList } from '../ui/states'
import { Ago } from '../ui/Time'
import ui from '../ui/ui.module.css'

export function DevicesPage() {
  const { t } = useTranslation()
  const { text = '', sort = 'latest' } = useSearch({ from: '/inside/devices' })
  const navigate = useNavigate()
  const [typed, setTyped] = useState(text)
  const go = (to: { text: string; sort: DeviceSort }) =>
    void navigate({ to: '/devices', search: { ...(to.text && { text: to.text }), ...(to.sort !== 'latest' && { sort: to.sort }) }, replace: true })
  const search = useDebouncedCallback((wanted: string) => go({ text: wanted.trim(), sort }), 250)
  const query = useInfiniteQuery({ ...devices(text, sort), placeholderData: keepPreviousData })
  return (
    <Page title={t('devices.title')} lead={t('devices.lead')}>
      <div className={ui.fields}>
        <TextInput type="search" label={t('devices.search')} description={t('devices.searchHint')} value={typed} maxLength={200}
          onChange={(e) => {
            setTyped(e.currentTarget.value)
            search(e.currentTarget.value)
          }} />
        <NativeSelect label={t('devices.sort')} description={t('devices.sortHint')} value={sort} onChange={(e) => go({ text, sort: e.currentTarget.value as DeviceSort })}
          data={deviceSorts.map((s) => ({ value: s, label: t(`devices.sorts.${s}`) }))} />
      </div>
      <Panel title={t('devices.list')} flush>
        <LoadedList
          query={query}
          empty={text ? <Empty title={t('devices.noneLike')} /> : (
            <Empty title={t('devices.none')} action={<Link to="/plugins" search={{ kind: 'discovery' }}>{t('devices.enable')}</Link>}>
              {t('devices.noneText')}
            </Empty>
          )}
        >
          {(items) => <DeviceTable items={items} />}
        </LoadedList>
      </Panel>
    </Page>
  )
}

function DeviceTable({ items }: { items: Device[] }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('devices.list')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('devices.name')}</th>
          <th scope="col">{t('devices.ips')}</th>
          <th scope="col" className={ui.medium}>{t('devices.macs')}</th>
          <th scope="col" className={ui.wide}>{t('devices.sources')}</th>
          <th scope="col" className={ui.wide}>{t('devices.first')}</th>
          <th scope="col" className={ui.medium}>{t('devices.last')}</th>
        </tr>
      </thead>
      <tbody>
        {items.map((d) => (
          <tr key={d.id} className={ui.row}>
            <td>
              <Link to="/devices/$id" params={{ id: d.id }} className={ui.main}>{deviceName(d)}</Link>
              {d.vendor && <div className={ui.sub}>{d.vendor}</div>}
            </td>
            <td className="mono break">{d.ips?.join(', ') || '–'}</td>
            <td className={`${ui.medium} mono`}>{d.macs?.map((mac) => <div key={mac} className="num">{mac}</div>) ?? '–'}</td>
            <td className={ui.wide}>{d.sources?.join(', ') || '–'}</td>
            <td className={ui.wide}><Ago at={d.first_seen} /></td>
            <td className={ui.medium}><Ago at={d.last_seen} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
