import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { Fragment } from 'react'
import { useTranslation } from 'react-i18next'
import { device, deviceHistory } from '../api/queries'
import type { Device } from '../api/types'
import { deviceName, spans } from '../lib/devices'
import { wholePercent } from '../lib/format'
import '../locales/devices'
import '../locales/traffic'
import { LoadedPage } from '../ui/LoadedPage'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Empty, Loaded } from '../ui/states'
import { Time } from '../ui/Time'
import ui from '../ui/ui.module.css'

export function DevicePage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/devices/$id' })
  const query = useQuery(device(id))
  return (
    <LoadedPage query={query} title={t('device.title')} back={{ to: '/devices', label: t('devices.title') }}>
      {(d) => <Detail device={d} />}
    </LoadedPage>
  )
}

function Detail({ device: d }: { device: Device }) {
  const { t } = useTranslation()
  const facts = Object.entries(d.facts ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return (
    <Page title={deviceName(d)} back={{ to: '/devices', label: t('devices.title') }} lead={d.vendor}>
      <Panel title={t('device.identity')}>
        <Facts>
          <Fact name={t('devices.ips')}><span className="mono">{d.ips?.map((ip, i) => <Fragment key={ip}>{i > 0 && ', '}<Link to="/flows" search={{ host: ip }} aria-label={t('traffic.flow.all', { address: ip })}>{ip}</Link></Fragment>) ?? '–'}</span></Fact>
          <Fact name={t('devices.macs')}><span className="mono">{d.macs?.join(', ') || '–'}</span></Fact>
          <Fact name={t('devices.hostnames')}>{d.hostnames?.join(', ') || '–'}</Fact>
          <Fact name={t('devices.sources')}>{d.sources?.join(', ') || '–'}</Fact>
          <Fact name={t('devices.first')}><Time at={d.first_seen} /></Fact>
          <Fact name={t('devices.last')}><Time at={d.last_seen} /></Fact>
          {d.ips?.[0] && <Fact name={t('device.alerts')}><Link to="/alerts" search={{ entity: d.ips[d.ips.length - 1], state: 'all' }}>{t('device.alertsOf', { address: d.ips[d.ips.length - 1] })}</Link></Fact>}
        </Facts>
      </Panel>
      <Panel title={t('device.facts')} hint={t('device.factsHint')} flush>
        {facts.length === 0 ? <Empty title={t('device.noFacts')} /> : (
          <table className={ui.table}>
            <caption className="visually-hidden">{t('device.facts')}</caption>
            <thead>
              <tr>
                <th scope="col">{t('device.fact')}</th>
                <th scope="col">{t('device.value')}</th>
                <th scope="col" className={ui.medium}>{t('device.source')}</th>
                <th scope="col" className={ui.right}>{t('device.confidence')}</th>
                <th scope="col" className={ui.medium}>{t('device.time')}</th>
              </tr>
            </thead>
            <tbody>
              {facts.map(([name, f]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td className="break">
                    {f.value}
                    {f.other && <div className={ui.sub}>{t('device.other', { source: f.other.source, value: f.other.value, sure: wholePercent(f.other.confidence) })}</div>}
                  </td>
                  <td className={ui.medium}>{f.source}{f.protocol && <div className={ui.sub}>{f.protocol}</div>}</td>
                  <td className={`${ui.right} num`}>{wholePercent(f.confidence)}</td>
                  <td className={ui.medium}><Time at={f.time} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Panel>
      <History id={d.id} />
    </Page>
  )
}

/** What became of the device: its names and addresses as they came, and on which days it was there. */
function History({ id }: { id: string }) {
  const { t } = useTranslation()
  const query = useQuery(deviceHistory(id))
  return (
    <Panel title={t('device.history')} hint={t('device.historyHint')} flush>
      <Loaded query={query}>
        {({ changes, days }) => changes.length === 0 && days.length === 0 ? <Empty title={t('device.noHistory')} /> : (
          <>
            <table className={ui.table}>
              <caption className="visually-hidden">{t('device.history')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('device.when')}</th>
                  <th scope="col">{t('device.what')}</th>
                  <th scope="col" className={ui.medium}>{t('device.source')}</th>
                </tr>
              </thead>
              <tbody>
                {changes.map((c, i) => (
                  <tr key={i}>
                    <td><Time at={c.time} /></td>
                    <td className="break">{t(`device.changes.${c.kind}`, { value: c.value })}</td>
                    <td className={ui.medium}>{c.source}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            <table className={ui.table}>
              <caption className="visually-hidden">{t('device.days')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('device.day')}</th>
                  <th scope="col">{t('device.hours')}</th>
                </tr>
              </thead>
              <tbody>
                {days.slice(0, shownDays).map((one) => (
                  <tr key={one.day}>
                    <td className="num">{one.day}</td>
                    <td className="break num">{spans(one.hours)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </>
        )}
      </Loaded>
    </Panel>
  )
}

const shownDays = 30
