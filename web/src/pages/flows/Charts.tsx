// What the flows are made of: applications, talkers, ports, transport. Each line is a filter.
import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { deviceNames, type FlowSummary } from '../../api/traffic'
import { bytes, count } from '../../lib/format'
import { protocolName } from '../../lib/flowWords'
import { Bars, type Bar } from '../../ui/Bars'
import { Panel } from '../../ui/Page'
import type { Exploring } from './Flows'
import css from './flows.module.css'

const shown = 8

interface Group {
  key: string
  name: string
  /** A second name beside it. */
  also?: string
  bytes: number
  chosen: boolean
  choose: () => void
}

export function Charts({ summary: s, address, change }: Exploring & { summary: FlowSummary }) {
  const { t } = useTranslation()
  const { data: names } = useQuery(deviceNames)
  const estimated = s.sampled ? t('traffic.charts.sampled', { n: count(s.sampled) }) : undefined
  return (
    <div className={css.charts}>
      <Chart title={t('traffic.charts.apps')} groups={s.apps.slice(0, shown).map((g) => {
        const app = g.app || 'none'
        const chosen = address.app === app
        return { key: app, name: g.app ? protocolName(g.app) : t('traffic.flows.unknownApp'), bytes: g.bytes, chosen, choose: () => change({ app: chosen ? undefined : app }) }
      })} />
      <Chart title={t('traffic.charts.talkers')} hint={estimated} groups={s.talkers.slice(0, shown).map((g) => {
        const chosen = address.host === g.address
        return { key: g.address, name: g.address, also: names?.get(g.address)?.name, bytes: g.bytes, chosen, choose: () => change({ host: chosen ? undefined : g.address }) }
      })} />
      <Chart title={t('traffic.charts.ports')} hint={estimated} groups={s.ports.slice(0, shown).map((g) => {
        const chosen = address.dst_port === g.port && address.proto === g.proto
        return { key: `${g.proto} ${g.port}`, name: `${g.port}/${g.proto}`, bytes: g.bytes, chosen, choose: () => change(chosen ? { dst_port: undefined, proto: undefined } : { dst_port: g.port, proto: g.proto }) }
      })} />
      <Chart title={t('traffic.charts.protos')} groups={s.protos.slice(0, 4).map((g) => {
        const proto = g.proto === 'ip' ? String(g.proto_id) : g.proto
        const chosen = address.proto === proto
        return { key: proto, name: g.proto === 'ip' ? `IP ${g.proto_id}` : protocolName(g.proto), bytes: g.bytes, chosen, choose: () => change({ proto: chosen ? undefined : proto }) }
      })} />
    </div>
  )
}

function Chart({ title, hint, groups }: { title: string; hint?: string; groups: Group[] }) {
  const { t } = useTranslation()
  const bars = groups.map((g): Bar => ({
    key: g.key,
    name: <>{g.name}{g.also && <span className="dim"> {g.also}</span>}</>,
    value: g.bytes,
    said: bytes(g.bytes),
    label: t('traffic.charts.add', { name: g.name }),
    choose: g.choose,
    chosen: g.chosen,
  }))
  return (
    <Panel title={title} hint={hint} flush>
      <div className={css.chart}>{bars.length > 0 ? <Bars bars={bars} label={title} /> : <p className="dim">{t('traffic.charts.empty')}</p>}</div>
    </Panel>
  )
}
