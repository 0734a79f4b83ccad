import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { devices } from '../api/queries'
import type { Device } from '../api/types'
import { deviceName } from '../lib/devices'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList } from '../ui/states'
import { Ago } from '../ui/Time'
import ui from '../ui/ui.module.css'

export function DevicesPage() {
  const { t } = useTranslation()
  const query = useInfiniteQuery(devices)
  return (
    <Page title={t('devices.title')} lead={t('devices.lead')}>
      <Panel title={t('devices.list')} flush>
        <LoadedList
          query={query}
          empty={
            <Empty title={t('devices.none')} action={<Link to="/plugins" search={{ kind: 'discovery' }}>{t('devices.enable')}</Link>}>
              {t('devices.noneText')}
            </Empty>
          }
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
