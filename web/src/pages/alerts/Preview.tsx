// One alert beside the list: enough to decide what becomes of it.
import { ActionIcon, Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useId, type RefObject } from 'react'
import { useTranslation } from 'react-i18next'
import { alert } from '../../api/queries'
import type { Alert, AlertDetail, AlertEvidence } from '../../api/types'
import { count, wholePercent } from '../../lib/format'
import { packetsAtOnce, packetsText } from '../../lib/packetNumbers'
import { canMove } from '../../lib/triage'
import '../../locales/alerts'
import { CloseIcon } from '../../ui/icons'
import { Meter, SeverityMark, State } from '../../ui/marks'
import { Fact, Facts } from '../../ui/Page'
import { Loading, Problem } from '../../ui/states'
import { Techniques } from '../../ui/Techniques'
import { Ago } from '../../ui/Time'
import type { Move } from '../Alerts'
import css from './alerts.module.css'

interface Props {
  id: string
  /** What the list says of it. */
  known: Alert | undefined
  heading: RefObject<HTMLHeadingElement | null>
  letters: boolean
  onMove: (a: Alert, to: Move) => void
  /** Absent when the role does not allow it. */
  onSuppress: ((a: Alert) => void) | undefined
  onClose: () => void
  onEntity: (entity: string) => void
}

export function Preview({ id, known, heading, letters, onMove, onSuppress, onClose, onEntity }: Props) {
  const { t } = useTranslation()
  const query = useQuery(alert(id))
  const title = useId()
  // The list knows first what became of it.
  const a: Alert | undefined = known ?? query.data
  return (
    <section className={css.preview} aria-labelledby={title}>
      <div className={css.previewHead}>
        <h2 id={title} ref={heading} tabIndex={-1}><span className="visually-hidden">{t('triage.preview')}: </span>{a?.title ?? t('alert.title')}</h2>
        <ActionIcon variant="subtle" color="gray" aria-label={t('close')} onClick={onClose}><CloseIcon size={16} /></ActionIcon>
      </div>
      {a && <Judgement alert={a} incident={query.data?.incident_id} letters={letters} onMove={onMove} onSuppress={onSuppress} onEntity={onEntity} />}
      {query.isError ? <Problem error={query.error} retry={() => void query.refetch()} /> : query.data ? <Ground alert={query.data} /> : <Loading rows={3} />}
    </section>
  )
}

function Judgement({ alert: a, incident, letters, onMove, onSuppress, onEntity }: { alert: Alert; incident: string | undefined } & Pick<Props, 'letters' | 'onMove' | 'onSuppress' | 'onEntity'>) {
  const { t } = useTranslation()
  const [ns = '', name = ''] = a.detector.split('/')
  return (
    <>
      <div className={css.marks}>
        <SeverityMark severity={a.severity} />
        <State of={a.state} />
        <span className="dim">{t('alert.seen', { count: a.count })}, <Ago at={a.last_seen} /></span>
      </div>
      <div className={css.deeds}>
        {canMove(a, 'acknowledge') && <Button size="xs" variant="default" onClick={() => onMove(a, 'acknowledge')}>{t('alert.acknowledge')}{letters && <Key of="a" />}</Button>}
        {canMove(a, 'resolve') && <Button size="xs" onClick={() => onMove(a, 'resolve')}>{t('alert.resolve')}{letters && <Key of="r" />}</Button>}
        {onSuppress && <Button size="xs" variant="default" onClick={() => onSuppress(a)}>{t('triage.suppress')}{letters && <Key of="s" />}</Button>}
        <Link to="/alerts/$id" params={{ id: a.id }}>{t('triage.full')}</Link>
        {incident && <Link to="/incidents/$id" params={{ id: incident }} preload={false}>{t('triage.incident')}</Link>}
      </div>
      <Facts>
        {a.src && <Fact name={t('flow.src')}><Entity of={a.src} onEntity={onEntity} /></Fact>}
        {a.dst && <Fact name={t('flow.dst')}><Entity of={a.dst} onEntity={onEntity} /></Fact>}
        <Fact name={t('alerts.risk')}>
          <span className="num">{a.risk} / 100</span>
          <Meter value={a.risk} of={100} label={t('alerts.risk')} />
        </Fact>
        <Fact name={t('alert.confidence')}>
          <span className="num">{wholePercent(a.confidence)}</span>
          <Meter value={Math.round(a.confidence * 100)} of={100} label={t('alert.confidence')} />
        </Fact>
        <Fact name={t('alert.detector')}><Link to="/plugins/$ns/$name" params={{ ns, name }}>{a.detector}</Link> · <span className="mono">{a.rule}</span></Fact>
      </Facts>
      <div className={css.block}>
        <h3>{t('alerts.techniques')}</h3>
        <Techniques ids={a.techniques} long matrix />
      </div>
    </>
  )
}

function Key({ of }: { of: string }) {
  return <kbd className={css.key} aria-hidden="true">{of}</kbd>
}

function Entity({ of, onEntity }: { of: string; onEntity: (entity: string) => void }) {
  const { t } = useTranslation()
  return <button type="button" className={`${css.entity} mono`} title={t('triage.only', { of })} onClick={() => onEntity(of)}>{of}</button>
}

/** What it rests on, and what else it could be. */
function Ground({ alert: a }: { alert: AlertDetail }) {
  const { t } = useTranslation()
  const said = a.findings.at(-1)?.summary
  return (
    <>
      {(said && said !== a.title || a.rule_purpose) && (
        <div className={css.block}>
          <h3>{t('alert.what')}</h3>
          {said && said !== a.title && <p className="break">{said}</p>}
          {a.rule_purpose && <p className="dim">{a.rule_purpose}</p>}
        </div>
      )}
      <div className={css.block}>
        <h3>{t('alert.evidence')}</h3>
        {a.evidence.length === 0 && <p className="dim">{t('alert.noPackets')}</p>}
        {a.evidence.map((place) => <Place key={`${place.capture_id} ${place.agent} ${place.run}`} alert={a.id} place={place} />)}
      </div>
      {a.false_positives.length > 0 && (
        <div className={css.block}>
          <h3>{t('alert.falsePositives')}</h3>
          <ul>{a.false_positives.map((text) => <li key={text} className="break">{text}</li>)}</ul>
        </div>
      )}
    </>
  )
}

const flowsShown = 4

function Place({ alert, place: { capture_id: id, packets, flows, kept } }: { alert: string; place: AlertEvidence }) {
  const { t } = useTranslation()
  const known = flows.filter((f) => f.id > 0 && f.capture)
  const held = kept.filter((k) => k.packets > 0)
  if (!id && known.length + held.length === 0) return <p className="dim">{t('triage.live')}</p>
  return (
    <p className={css.evidence}>
      {held.map((k) => (
        <Link key={k.finding} to="/alerts/$id/packets/$finding" params={{ id: alert, finding: k.finding }} preload={false}>{t('triage.packets', { count: k.packets })}</Link>
      ))}
      {id && packets.length > 0 && (
        <Link to="/captures/$id/packets" params={{ id }} search={{ numbers: packetsText(packets.slice(0, packetsAtOnce)) }} preload={false}>{t('triage.packets', { count: packets.length })}</Link>
      )}
      {known.slice(0, flowsShown).map((f) => (
        <Link key={f.id} to="/captures/$id/flows/$flow" params={{ id: f.capture!, flow: String(f.id) }} preload={false}>{t('triage.flow', { id: count(f.id) })}</Link>
      ))}
      {known.length > flowsShown && <span className="dim">{t('triage.moreFlows', { count: known.length - flowsShown })}</span>}
    </p>
  )
}
