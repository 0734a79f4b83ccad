// What an alert rests on: packets, flows and features.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Fragment, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { keptFile, packetsFile } from '../../api/files'
import { agent, capture } from '../../api/queries'
import type { AlertEvidence, EvidenceFlow, Finding, Kept } from '../../api/types'
import { keptWith } from '../../lib/evidence'
import { bytes, count, duration, frameFilter, number, ranges } from '../../lib/format'
import { packetsAtOnce, packetsText, runs } from '../../lib/packetNumbers'
import '../../locales/alerts'
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
export function Evidence({ alert, places, findings }: { alert: string; places: AlertEvidence[]; findings: Finding[] }) {
  const { t } = useTranslation()
  const packets = places.reduce((n, p) => n + p.packets.length, 0)
  const flows = places.reduce((n, p) => n + p.flows.length, 0)
  return (
    <Panel title={t('alert.evidence')} hint={t('alert.evidenceHint', { packets: count(packets), flows: count(flows) })} flush>
      {places.map((p) => <Place key={`${p.capture_id} ${p.agent} ${p.run}`} alert={alert} place={p} findings={findings} named={places.length > 1 || !!p.agent} />)}
      {places.length === 0 && <div className={ui.panelBody}><p className="dim">{t('alert.noPackets')}</p></div>}
    </Panel>
  )
}

function Place({ alert, place, findings, named }: { alert: string; place: AlertEvidence; findings: Finding[]; named: boolean }) {
  const { t } = useTranslation()
  const { capture_id: id, agent: by, packets, flows } = place
  const coming = by && place.run ? flows.filter((f) => f.id > 0 && !f.capture).length : 0
  const [all, setAll] = useState(false)
  return (
    <>
      <div className={ui.panelBody}>
        {named && id && <p className={css.place}>{t('alert.evidenceIn')} <CaptureName id={id} /></p>}
        {by && <p className={css.place}>{t('alert.evidenceLive')} <AgentName id={by} />{place.interface && <>, {t('alert.liveInterface', { name: place.interface })}</>}</p>}
        {by && <KeptPackets alert={alert} place={place} />}
        {packets.length === 0 ? !by && <p className="dim">{t('alert.noPackets')}</p> : <Packets capture={id} packets={packets} />}
      </div>
      {flows.length > 0 && (
        <>
          <FlowTable flows={all ? flows : flows.slice(0, flowsShown)} packets={(flow) => by && keptWith(place, findings, flow)} alert={alert} />
          {coming > 0 && <div className={ui.panelBody}><p className="dim">{t('alert.flowsComing', { count: coming, n: count(coming) })}</p></div>}
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

/** What an agent kept of the packets, by finding, or why there are none. */
function KeptPackets({ alert, place }: { alert: string; place: AlertEvidence }) {
  const { t } = useTranslation()
  return (
    <div className={css.block}>
      <h3>{t('alert.kept')}</h3>
      {place.kept.filter((k) => !k.why).map((k) => <KeptOne key={k.finding} alert={alert} kept={k} />)}
      {[...new Set(place.kept.map((k) => k.why))].map((why) => why && <p key={why} className="dim">{t(`alert.keptWhy.${why}`)}</p>)}
      {place.kept.length === 0 && <p className="dim">{t(place.run ? 'alert.keptWhy.coming' : 'alert.keptWhy.before')}</p>}
    </div>
  )
}

function KeptOne({ alert, kept: k }: { alert: string; kept: Kept }) {
  const { t } = useTranslation()
  return (
    <>
      <p>
        {t('alert.keptSome', { count: k.packets, packets: count(k.packets) })}
        {k.matched > k.packets && <> {t('alert.keptOf', { all: count(k.matched) })}</>}
        {k.missing > 0 && <> {t('alert.keptMissing', { count: k.missing, missing: count(k.missing) })}</>}
      </p>
      <span className={css.receipt}>
        <Link to="/alerts/$id/packets/$finding" params={{ id: alert, finding: k.finding }}>{t('alert.keptShow')}</Link>
        <a href={keptFile(alert, k.finding)} download>{t('alert.download')}</a>
        <span className="dim">{bytes(k.bytes)}</span>
      </span>
    </>
  )
}

/** Flows that the server has lead to their pages. */
function FlowTable({ flows, packets, alert }: { flows: EvidenceFlow[]; packets: (flow: number) => string | undefined; alert: string }) {
  const { t } = useTranslation()
  const some = flows.some((f) => packets(f.id))
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
            {some && <th scope="col">{t('alert.kept')}</th>}
            <th scope="col">{t('flow.community')}</th>
          </tr>
        </thead>
        <tbody>
          {flows.map((f) => (
            <tr key={`${f.id} ${f.src} ${f.dst}`}>
              <td className={`${ui.right} num`}>{f.capture && f.id > 0 ? <Link to="/captures/$id/flows/$flow" params={{ id: f.capture, flow: String(f.id) }} aria-label={t('flow.open', { id: f.id })}>{f.id}</Link> : f.id}</td>
              <td>{f.proto}</td>
              <td className="mono">{f.src}</td>
              <td className="mono">{f.dst}</td>
              {some && <td><FlowPackets alert={alert} finding={packets(f.id)} flow={f.id} /></td>}
              <td className={`mono ${css.community}`}>{f.community_id}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function FlowPackets({ alert, finding, flow }: { alert: string; finding?: string; flow: number }) {
  const { t } = useTranslation()
  if (!finding) return null
  return <Link to="/alerts/$id/packets/$finding" params={{ id: alert, finding }} search={{ flow: String(flow) }} preload={false} aria-label={t('alert.keptOfFlow', { id: flow })}>{t('alert.kept')}</Link>
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
