import { Button } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { Fragment, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { alerts as act } from '../api/actions'
import { packetsFile } from '../api/files'
import { agent, alert, capture } from '../api/queries'
import type { AlertDetail, AlertEvidence, Finding, FlowRef, Notice } from '../api/types'
import { useMay } from '../api/useMay'
import { canUndo, webLink } from '../lib/delivery'
import { count, duration, frameFilter, number, ranges, wholePercent } from '../lib/format'
import { packetsAtOnce, packetsText, runs } from '../lib/packetNumbers'
import { Confirm } from '../ui/confirm'
import { Copy } from '../ui/Copy'
import { Meter, SeverityMark, State, StateMark, type Tone } from '../ui/marks'
import { LoadedPage } from '../ui/LoadedPage'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Empty, Problem } from '../ui/states'
import { Techniques } from '../ui/Techniques'
import { Ago, Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import css from './alert.module.css'
import { between } from './words'

export function AlertPage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/alerts/$id' })
  const query = useQuery(alert(id))
  return (
    <LoadedPage query={query} title={t('alert.title')} back={{ to: '/alerts', label: t('alerts.title') }}>
      {(a) => <Detail alert={a} />}
    </LoadedPage>
  )
}

function Detail({ alert: a }: { alert: AlertDetail }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const change = useMutation({
    mutationFn: (to: 'acknowledge' | 'resolve') => act[to](a.id),
    onSuccess: () => Promise.all([client.invalidateQueries({ queryKey: ['alerts'] }), client.invalidateQueries({ queryKey: ['overview'] })]),
  })
  const findings = a.findings ?? []
  const latest = findings.at(-1)
  return (
    <Page
      title={a.title}
      back={{ to: '/alerts', label: t('alerts.title') }}
      lead={<span className="mono break">{between(a.src, a.dst)}</span>}
      actions={
        a.state === 'resolved' ? undefined : (
          <>
            {a.state === 'firing' && (
              <Button variant="default" loading={change.isPending && change.variables === 'acknowledge'} onClick={() => change.mutate('acknowledge')}>
                {t('alert.acknowledge')}
              </Button>
            )}
            <Button loading={change.isPending && change.variables === 'resolve'} onClick={() => change.mutate('resolve')}>{t('alert.resolve')}</Button>
          </>
        )
      }
    >
      {change.isError && <Problem error={change.error} />}
      <div className={ui.columns}>
        <div className={ui.stack}>
          <Panel title={t('alert.what')}>
            <div className={css.block}>
              {latest && latest.summary !== a.title && <p className={css.summary}>{latest.summary}</p>}
              {a.rule_purpose && <p className={latest?.summary === a.title ? css.summary : 'dim'}>{a.rule_purpose}</p>}
            </div>
            <div className={css.block}>
              <h3>{t('alerts.techniques')}</h3>
              <Techniques ids={a.techniques} long />
            </div>
          </Panel>
          <Evidence places={a.evidence} />
          <Features finding={latest} />
          {findings.length > 1 && <Findings findings={findings} />}
        </div>
        <div className={ui.stack}>
          <Panel title={t('alert.judgement')}>
            <Facts>
              <Fact name={t('alerts.severity')}><SeverityMark severity={a.severity} /></Fact>
              <Fact name={t('alerts.state')}><State of={a.state} /></Fact>
              {a.acknowledged_by && <Fact name={t('alert.ackBy')}>{a.acknowledged_by}</Fact>}
              <Fact name={t('alerts.risk')}>
                <span className="num">{a.risk} / 100</span>
                <Meter value={a.risk} of={100} label={t('alerts.risk')} />
              </Fact>
              <Fact name={t('alert.confidence')}>
                <span className="num">{wholePercent(a.confidence)}</span>
                <Meter value={Math.round(a.confidence * 100)} of={100} label={t('alert.confidence')} />
              </Fact>
              <Fact name={t('alert.detector')}>
                <Detector id={a.detector} /> · <span className="mono">{a.rule}</span>
              </Fact>
              <Fact name={t('alert.first')}><Time at={a.first_seen} /></Fact>
              <Fact name={t('alert.last')}><Time at={a.last_seen} /></Fact>
              <Fact name={t('alerts.count')}>{t('alert.seen', { count: a.count })}</Fact>
              <Fact name={t('alert.judgedBy')}>{a.agent ? <><AgentName id={a.agent} />, {t('alert.judgedThere')}</> : t('alert.judgedHere')}</Fact>
              {a.capture_id && <Fact name={t('alert.capture')}><CaptureName id={a.capture_id} /></Fact>}
            </Facts>
          </Panel>
          <Panel title={t('alert.falsePositives')}>
            {a.false_positives?.length
              ? <ul className={css.list}>{a.false_positives.map((text) => <li key={text}>{text}</li>)}</ul>
              : <p className="dim">{t('alert.noFalsePositives')}</p>}
          </Panel>
          <Notices alert={a.id} notices={a.notices ?? []} />
        </div>
      </div>
    </Page>
  )
}

function Detector({ id }: { id: string }) {
  const [ns, name] = id.split('/')
  return ns && name ? <Link to="/plugins/$ns/$name" params={{ ns, name }}>{id}</Link> : <span>{id}</span>
}

function CaptureName({ id }: { id: string }) {
  const { data } = useQuery(capture(id))
  return <Link to="/captures/$id" params={{ id }} className="break">{data?.name ?? id}</Link>
}

/** An agent that is gone from this server has no name any more. */
function AgentName({ id }: { id: string }) {
  const { data } = useQuery({ ...agent(id), retry: false })
  return data ? <Link to="/machines/$id" params={{ id }} className="break">{data.name}</Link> : <span className="mono break">{id}</span>
}

const flowsShown = 12

/** What the findings rest on, by the capture or the agent that it was seen in. */
function Evidence({ places }: { places: AlertEvidence[] }) {
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

function Features({ finding }: { finding?: Finding }) {
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

function Findings({ findings }: { findings: Finding[] }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('alert.findings')} hint={t('alert.findingsHint', { count: findings.length })} flush>
      <ul>
        {findings.toReversed().map((f) => (
          <li key={f.id} className={css.notice}>
            <div className={css.noticeHead}>
              <SeverityMark severity={f.severity} />
              <span className={css.sub}><Time at={f.start} /> – <Time at={f.end} /></span>
            </div>
            <span className="break">{f.summary}</span>
          </li>
        ))}
      </ul>
    </Panel>
  )
}

function Notices({ alert: id, notices }: { alert: string; notices: Notice[] }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('alert.notices')} flush>
      {notices.length === 0 ? (
        <Empty title={t('alert.noNotices')} action={<Link to="/plugins" search={{ kind: 'notifier' }}>{t('alert.getTold')}</Link>}>{t('alert.noNoticesText')}</Empty>
      ) : <ul>{notices.map((n) => <Delivery key={n.id} alert={id} notice={n} />)}</ul>}
    </Panel>
  )
}

const outcomes: Record<string, Tone> = { open: 'busy', closed: 'good', undone: 'off' }

/** One delivery: how far it got, what the other side made of it, and the way back where there is one. */
function Delivery({ alert, notice: n }: { alert: string; notice: Notice }) {
  const { t } = useTranslation()
  const link = webLink(n.receipt?.url)
  const tone = outcomes[n.outcome ?? '']
  return (
    <li className={css.notice}>
      <div className={css.noticeHead}>
        <span className="break">{n.notifier}</span>
        <State of={n.state} />
      </div>
      <span className={css.sub}>{t('alert.attempts', { count: n.attempts })} · <Ago at={n.time} /></span>
      {n.last_error && n.state !== 'delivered' && <span className={css.sub}>{n.last_error}</span>}
      {(n.receipt?.foreign_id || link) && (
        <span className={css.receipt}>
          {n.receipt?.foreign_id && <span className="mono break">{n.receipt.foreign_id}</span>}
          {link && <a href={link} target="_blank" rel="noopener noreferrer">{t('alert.openThere')}</a>}
        </span>
      )}
      {tone ? (
        <span className={css.receipt}>
          <StateMark tone={tone}>{t(`alert.outcome.${n.outcome}` as 'alert.outcome.open')}</StateMark>
          {n.outcome_text && <span className={css.sub}>{n.outcome_text}</span>}
        </span>
      ) : n.outcome_text && <span className={css.sub}>{t('alert.noOutcome', { why: n.outcome_text })}</span>}
      {canUndo(n) && <UndoButton alert={alert} notice={n} />}
    </li>
  )
}

function UndoButton({ alert, notice: n }: { alert: string; notice: Notice }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const [asking, setAsking] = useState(false)
  if (!can('operate')) return null
  return (
    <>
      <Button variant="default" size="xs" className={css.undo} aria-label={t('alert.undoOne', { name: n.notifier })} onClick={() => setAsking(true)}>{t('alert.undo')}</Button>
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('alert.undoTitle', { name: n.notifier })} confirm={t('alert.undo')}
        act={async () => {
          await act.undo(alert, n.id)
          tell.done(t('alert.undone', { name: n.notifier }))
          await client.invalidateQueries({ queryKey: ['alerts'] })
        }}>
        <span className="break">{t('alert.undoText', { what: n.receipt?.foreign_id || t('alert.undoWhat') })}</span>
      </Confirm>
    </>
  )
}
