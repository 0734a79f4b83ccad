import '../locales/alerts'
import '../locales/incident'
import { Button } from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { alerts as act } from '../api/actions'
import { incident } from '../api/incidents'
import { alert } from '../api/queries'
import type { AlertDetail, Finding, Notice } from '../api/types'
import { useMay } from '../api/useMay'
import { canUndo, webLink } from '../lib/delivery'
import { wholePercent } from '../lib/format'
import { awaitsEvidence } from '../lib/evidence'
import { deedOf } from '../lib/triage'
import { Confirm } from '../ui/confirm'
import { Meter, SeverityMark, State, StateMark, type Tone } from '../ui/marks'
import { LoadedPage } from '../ui/LoadedPage'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Empty, Problem } from '../ui/states'
import { Techniques } from '../ui/Techniques'
import { Ago, Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import { useKeys } from '../ui/useKeys'
import css from './alert.module.css'
import { AgentName, CaptureName, Evidence, Features } from './alerts/Evidence'
import { Judge } from './incidents/Judge'
import { between } from './words'

/** The detector of alerts that rules over metrics raise. */
const metricRules = 'metric-rules'

// Dialogs that few visits need.
const Keys = lazy(() => import('./alerts/Keys'))
const SuppressDialog = lazy(() => import('./incidents/SuppressDialog'))

export function AlertPage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/alerts/$id' })
  const query = useQuery({ ...alert(id), refetchInterval: (q) => (q.state.data && awaitsEvidence(q.state.data, Date.now()) ? 5000 : false) })
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
  const can = useMay()
  const [dialog, setDialog] = useState<'keys' | 'suppress' | null>(null)
  const [letters, setLetters] = useLocalStorage({ key: 'picket-letter-keys', defaultValue: true })
  useKeys((event) => {
    if (dialog) return
    const deed = deedOf(event, letters)
    if (deed === 'help') setDialog('keys')
    else if (deed === 'suppress' && can('audit')) setDialog('suppress')
    else if (deed === 'acknowledge' && a.state === 'firing') change.mutate('acknowledge')
    else if (deed === 'resolve' && a.state !== 'resolved') change.mutate('resolve')
    else return
    event.preventDefault()
  })
  const findings = a.findings ?? []
  const latest = findings.at(-1)
  return (
    <Page
      title={a.title}
      back={{ to: '/alerts', label: t('alerts.title') }}
      lead={<span className="mono break">{between(a.src, a.dst)}</span>}
      actions={
        <>
          {can('audit') && <Button variant="default" onClick={() => setDialog('suppress')}>{t('suppress.button')}</Button>}
          {a.state === 'firing' && (
            <Button variant="default" loading={change.isPending && change.variables === 'acknowledge'} onClick={() => change.mutate('acknowledge')}>
              {t('alert.acknowledge')}
            </Button>
          )}
          {a.state !== 'resolved' && <Button loading={change.isPending && change.variables === 'resolve'} onClick={() => change.mutate('resolve')}>{t('alert.resolve')}</Button>}
        </>
      }
    >
      <Suspense>
        {dialog === 'keys' && <Keys of="alert" onClose={() => setDialog(null)} letters={letters} onLetters={setLetters} />}
        {dialog === 'suppress' && <SuppressDialog like={a} onClose={() => setDialog(null)} />}
      </Suspense>
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
          <Evidence alert={a.id} places={a.evidence} findings={findings} />
          <Features finding={latest} />
          {findings.length > 1 && <Findings findings={findings} />}
        </div>
        <div className={ui.stack}>
          <Panel title={t('alert.judgement')}>
            <Facts>
              <Fact name={t('alerts.severity')}><SeverityMark severity={a.severity} /></Fact>
              <Fact name={t('alerts.state')}><State of={a.state} /></Fact>
              {a.incident_id && <Fact name={t('incident.ofAnIncident')}><IncidentName id={a.incident_id} /></Fact>}
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
                <Detector id={a.detector} rule={a.rule} /> · <span className="mono">{a.rule}</span>
              </Fact>
              <Fact name={t('alert.first')}><Time at={a.first_seen} /></Fact>
              <Fact name={t('alert.last')}><Time at={a.last_seen} /></Fact>
              <Fact name={t('alerts.count')}>{t('alert.seen', { count: a.count })}</Fact>
              <Fact name={t('alert.judgedBy')}>{a.detector === metricRules ? <>{t('alert.judgedByRule')}{a.agent && <> (<AgentName id={a.agent} />)</>}</> : a.agent ? <><AgentName id={a.agent} />, {t('alert.judgedThere')}</> : t('alert.judgedHere')}</Fact>
              {a.capture_id && <Fact name={t('alert.capture')}><CaptureName id={a.capture_id} /></Fact>}
            </Facts>
          </Panel>
          <Judge of={{ alert: a.id }} incident={a.incident_id} feedback={a.feedback} />
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

function Detector({ id, rule }: { id: string; rule: string }) {
  const { t } = useTranslation()
  if (id === metricRules) return <Link to="/rules/metrics/$name" params={{ name: rule }}>{t('alert.ofRule')}</Link>
  const [ns, name] = id.split('/')
  return ns && name ? <Link to="/plugins/$ns/$name" params={{ ns, name }}>{id}</Link> : <span>{id}</span>
}

/** The incident with its risk, and what judgements made of that. */
function IncidentName({ id }: { id: string }) {
  const { t } = useTranslation()
  const { data: i } = useQuery(incident(id))
  return (
    <>
      <Link to="/incidents/$id" params={{ id }} className="break">{i?.title ?? id}</Link>
      {i && <span className="dim">{' '}({t('incident.riskIs', { risk: i.risk })}{i.judged && i.judged.risk_before !== i.risk && <>, {t('incident.riskWas', { before: i.judged.risk_before })}</>})</span>}
    </>
  )
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
