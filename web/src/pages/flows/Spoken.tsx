// What was said in a flow, grouped by protocol: a line for each fact, all its fields behind it.
import { Button } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { flowFacts, type FactKind, type FlowDetail, type TrafficFact } from '../../api/traffic'
import { byKind, fieldText, say } from '../../lib/facts'
import { count } from '../../lib/format'
import { Panel } from '../../ui/Page'
import { Empty, Problem } from '../../ui/states'
import css from './flow.module.css'

export function Spoken({ flow: f }: { flow: FlowDetail }) {
  const { t } = useTranslation()
  const groups = byKind(f.facts)
  return (
    <Panel title={t('traffic.flow.facts')} hint={groups.length > 0 ? t('traffic.flow.factsHint') : undefined} flush>
      {groups.length === 0 ? <Empty title={t('traffic.flow.noFacts')}>{t('traffic.flow.noFactsText')}</Empty>
        : groups.map(([kind, facts]) => <Kind key={kind} flow={f} kind={kind as FactKind} first={facts} />)}
    </Panel>
  )
}

const shown = 12

/** The facts of one kind: the first of them at once, the others when somebody asks. */
function Kind({ flow: f, kind, first }: { flow: FlowDetail; kind: FactKind; first: TrafficFact[] }) {
  const { t } = useTranslation()
  const [all, setAll] = useState(false)
  const query = useInfiniteQuery({ ...flowFacts(f.capture, f.id, kind), enabled: all })
  const facts = all ? (query.data ?? first) : first.slice(0, shown)
  const more = all ? query.hasNextPage : first.length >= shown
  return (
    <section className={css.kind} aria-label={t(`traffic.facts.kinds.${kind}`, { defaultValue: kind })}>
      <h3>{t(`traffic.facts.kinds.${kind}`, { defaultValue: kind })}</h3>
      <ol>{facts.map((fact) => <Line key={fact.number} fact={fact} />)}</ol>
      {query.isError && <Problem error={query.error} retry={() => void query.refetch()} />}
      {more && (
        <Button variant="default" size="xs" loading={query.isFetching} onClick={() => (all ? void query.fetchNextPage() : setAll(true))}>{t('traffic.flow.moreFacts')}</Button>
      )}
    </section>
  )
}

/** The packet that completed a fact; of live traffic none are kept. */
function PacketNumber({ fact: { capture, packet } }: { fact: TrafficFact }) {
  if (capture.startsWith('live-') || packet === 0) return count(packet)
  return <Link to="/captures/$id/packets" params={{ id: capture }} search={{ numbers: String(packet) }}>{count(packet)}</Link>
}

function Line({ fact }: { fact: TrafficFact }) {
  const { t } = useTranslation()
  const said = say({ ...fact, fields: fact.fields as Record<string, unknown> }, t)
  const fields = Object.entries(fact.fields as Record<string, unknown>).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return (
    <li>
      <details className={css.fact}>
        <summary>
          <span className={css.said} data-bad={said.bad || undefined}>{said.text}</span>
          {said.marks.map((mark) => <span key={mark} className={css.mark}>{mark}</span>)}
        </summary>
        <dl className={css.fields}>
          <div><dt>{t('traffic.packets.number')}</dt><dd className="num"><PacketNumber fact={fact} /></dd></div>
          {fields.map(([name, value]) => <div key={name}><dt>{name.replaceAll('_', ' ')}</dt><dd className="mono break">{fieldText(value)}</dd></div>)}
        </dl>
      </details>
    </li>
  )
}
