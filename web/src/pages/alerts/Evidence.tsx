// What an alert rests on: packets, flows and features.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Fragment, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { packetsFile } from '../../api/files'
import { agent, capture } from '../../api/queries'
import type { AlertEvidence, Finding, FlowRef } from '../../api/types'
import { count, duration, frameFilter, number, ranges } from '../../lib/format'
import { packetsAtOnce, packetsText, runs } from '../../lib/packetNumbers'
import { Copy } from '../../ui/Copy'
import { Fact, Facts, Panel } from '../../ui/Page'
import ui from '../../ui/ui.module.css'
import css from '../alert.module.css'

export function CaptureName({ id }: { id: string }) {
  const { data } = useQuery(capture(id))
  return <Link to="/captures/$id" params={{ id }} className="break">{data?.name ?? id}</Link>
}

/** An agent that is gone from this server has no name any more. */
export function AgentName({ id }: { id: string }) {
  const { data } = useQuery({ ...agent(id), retry: false })
  return data ? <Link to="/machines/$id" params={{ id }} className="break">{data.name}</Link> : <span className="mono break">{id}</span>
}

const flowsShown = 12

/** What the findings rest on, by the capture or the agent that it was seen in. */
export function Evidence({ places }: { places: AlertEvidence[] }) {
  const { t } = useTranslation()
  const packets = places.reduce((n, p) => n + p.packets.length, 0)
  const flows = places.reduce((n, p) => n + p.flows.length, 0)
  return (
    <Panel title={t('alert.evidence')} hint={t('alert.evidenceHint', { packets: count(packets), flows: count(flows) })} flush>
      {places.map((p) => <Place key={`${p.capture_id} ${p.agent}`} place={p} named={places.length > 1 || !!p.agent} />)}
      {places.length === 0 && <div className={ui.panelBody}><p className="dim">{t('alert.noPackets')}</p></div>}
    </Panel>
  )
}

function Place({ place: { capture_id: id, agent: by, packets, flows }, named }: { place: AlertEvidence; named: boolean }) {
  const { t } = useTranslation()
  const [all, setAll] = useState(false)
  return (
    <>
      <div className={ui.panelBody}>
        {named && id && <p className={css.place}>{t('alert.evidenceIn')} <CaptureName id={id} /></p>}
        {by && <p className={css.place}>{t('alert.evidenceLive')} <AgentName id={by} /></p>}
        {by && <p className="dim">{t('alert.liveNotKept')}</p>}
        {packets.length === 0 ? !by && <p className="dim">{t('alert.noPackets')}</p> : <Packets capture={id} packets={packets} />}
      </div>
      {flows.length > 0 && (
        <>
          <FlowTable flows={all ? flows : flows.slice(0, flowsShown)} capture={id} />
          {!all && flows.length > flowsShown && (
            <div className={ui.more}>
              <Button variant="default" size="xs" onClick={() => setAll(true)}>{t('alert.allFlows', { count: flows.length })}</Button>
            </div>
          )}
        </>
      )}
    </>
  )
}

/** The numbers of a capture's packets lead to the packets; those of live traffic lead nowhere. */
function Packets({ capture: id, packets }: { capture?: string; packets: number[] }) {
  const { t } = useTranslation()
  const some = packets.slice(0, packetsAtOnce)
  return (
    <div className={css.block}>
      <h3>{t('alert.packets')}</h3>
      <p className={css.packets} tabIndex={0} role="group" aria-label={t('alert.packets')}>{id ? <PacketLinks capture={id} packets={packets} /> : ranges(packets)}</p>
      {id && (
        <>
          <span className="dim">{t('alert.filter')}</span>
          <Copy text={frameFilter(packets)} label={t('alert.filterLabel')} line />
          <span className={css.receipt}>
            <Link to="/captures/$id/packets" params={{ id }} search={{ numbers: packetsText(some) }}>{t('alert.showPackets')}</Link>
            <a href={packetsFile(id, some)} download>{t('alert.download')}</a>
          </span>
        </>
      )}
    </div>
  )
}

function PacketLinks({ capture: id, packets }: { capture: string; packets: number[] }) {
  const { t } = useTranslation()
  return runs(packets).map(([from, to], i) => {
    const numbers = from === to ? `${from}` : `${from}-${to}`
    return (
      <Fragment key={from}>
        {i > 0 && ', '}
        <Link to="/captures/$id/packets" params={{ id }} search={{ numbers }} preload={false} aria-label={t('alert.openPackets', { numbers })}>{from === to ? count(from) : `${count(from)}–${count(to)}`}</Link>
      </Fragment>
    )
  })
}

/** Flows of a capture lead to their pages. */
function FlowTable({ flows, capture: id }: { flows: FlowRef[]; capture?: string }) {
  const { t } = useTranslation()
  return (
    <div className={ui.tableWrap} tabIndex={0} role="group" aria-label={t('alert.flows')}>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('alert.flows')}</caption>
        <thead>
          <tr>
            <th scope="col" className={ui.right}>{t('flow.id')}</th>
            <th scope="col">{t('flow.proto')}</th>
            <th scope="col">{t('flow.src')}</th>
            <th scope="col">{t('flow.dst')}</th>
            <th scope="col">{t('flow.community')}</th>
          </tr>
        </thead>
        <tbody>
          {flows.map((f) => (
            <tr key={`${f.id} ${f.src} ${f.dst}`}>
              <td className={`${ui.right} num`}>{id && f.id > 0 ? <Link to="/captures/$id/flows/$flow" params={{ id, flow: String(f.id) }} aria-label={t('flow.open', { id: f.id })}>{f.id}</Link> : f.id}</td>
              <td>{f.proto}</td>
              <td className="mono">{f.src}</td>
              <td className="mono">{f.dst}</td>
              <td className={`mono ${css.community}`}>{f.community_id}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

export function Features({ finding }: { finding?: Finding }) {
  const { t } = useTranslation()
  const features = Object.entries(finding?.features ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))
  if (features.length === 0) return null
  return (
    <Panel title={t('alert.features')} hint={t('alert.featuresHint')}>
      <Facts>
        {features.map(([name, value]) => (
          <Fact key={name} name={name}><span className="num">{featureValue(name, value)}</span></Fact>
        ))}
      </Facts>
    </Panel>
  )
}

/** The unit of a feature is the end of its name, by convention. */
function featureValue(name: string, value: number): ReactNode {
  return name.endsWith('_seconds') && value >= 0 ? duration(value) : number(value)
}
