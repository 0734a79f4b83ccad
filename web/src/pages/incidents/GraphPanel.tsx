// Who did what to whom, as a graph and as a table that says the same.
import { SegmentedControl } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { useId, useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { IncidentDetail } from '../../api/types'
import { count } from '../../lib/format'
import { graphOf, linksOf, nodeHeight, type Account, type Graph, type GraphNode, type Link as Deed } from '../../lib/incident'
import { ownName } from '../../lib/techniques'
import { SeverityMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import type { Translate } from '../../ui/states'
import { Techniques } from '../../ui/Techniques'
import ui from '../../ui/ui.module.css'
import css from './incidents.module.css'

/** Characters of a host that its box has room for. */
const textLength = { wide: 20, narrow: 15 }
const isNarrow = () => window.matchMedia('(max-width: 40rem)').matches

export function GraphPanel({ incident: i }: { incident: IncidentDetail }) {
  const { t } = useTranslation()
  const [size] = useState(() => (isNarrow() ? 'narrow' as const : 'wide' as const))
  const graph = useMemo(() => graphOf(i.alerts, i.entities, size, i.accounts), [i.alerts, i.entities, i.accounts, size])
  const [view, setView] = useState<'graph' | 'table'>('graph')
  const [chosen, setChosen] = useState<string | null>(null)
  const node = graph.nodes.find((n) => n.host === chosen)
  return (
    <Panel title={t('incident.graph')} flush actions={
      <SegmentedControl size="xs" aria-label={t('incident.graphView')} value={view} onChange={(v) => setView(v as typeof view)}
        data={[{ value: 'graph', label: t('incident.asGraph') }, { value: 'table', label: t('incident.asTable') }]} />
    }>
      {view === 'table' ? <DeedTable incident={i} /> : (
        <>
          <Drawn graph={graph} size={size} chosen={chosen} onChoose={(host) => setChosen(host === chosen ? null : host)} />
          {node && <Chosen node={node} />}
          <p className={css.legend}>
            <span>{t('incident.graphHint')}</span>
            {graph.left > 0 && <span>{t('incident.graphLeft', { count: graph.left })}</span>}
          </p>
        </>
      )}
    </Panel>
  )
}

function Chosen({ node: n }: { node: GraphNode }) {
  const { t } = useTranslation()
  return (
    <p className={css.chosen} role="status">
      <strong className="mono break">{n.host || t('incident.several')}</strong>
      <span>{t(`incident.kind.${n.kind}`)}, {roleWords(t, n)}</span>
      {n.alone && <span>{t('incident.alone', { what: deedWords(n.alone) })}</span>}
      {n.device && <Link to="/devices/$id" params={{ id: n.device }}>{t('incident.device')}</Link>}
      {n.host && n.kind !== 'account' && <Link to="/alerts" search={{ state: 'all', entity: n.host }}>{t('incident.onlyAlerts')}</Link>}
    </p>
  )
}

/** An account is used by somebody; it does nothing itself. */
const roleWords = (t: Translate, n: GraphNode): string => (n.kind === 'account' ? t(n.role === 'target' ? 'incident.accountTried' : 'incident.accountIn') : t(`incident.role.${n.role}`))

const deedWords = (d: Deed): string => d.techniques.map((id) => ownName(id) ?? id).join(', ') || '–'
const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)

interface DrawnProps {
  graph: Graph
  size: keyof typeof textLength
  chosen: string | null
  onChoose: (host: string) => void
}

function Drawn({ graph: g, size, chosen, onChoose }: DrawnProps) {
  const { t } = useTranslation()
  const id = useId()
  const at = new Map(g.nodes.map((n) => [n.host, n]))
  const near = new Set(chosen === null ? [] : [chosen, ...g.links.filter((l) => l.from === chosen || l.to === chosen).flatMap((l) => [l.from, l.to])])
  return (
    <div className={css.graphBox} tabIndex={0} role="group" aria-label={t('incident.graphLabel')}>
      <svg className={css.graph} width={g.width + 32} height={g.height} viewBox={`-16 0 ${g.width + 32} ${g.height}`}>
        <defs>
          <marker id={id} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" markerUnits="userSpaceOnUse"><path className={css.arrow} d="M0 0 8 4 0 8z" /></marker>
        </defs>
        <g aria-hidden="true">
          {g.links.map((l) => {
            const path = pathOf(at.get(l.from)!, at.get(l.to)!, g.nodeWidth)
            const away = chosen !== null && l.from !== chosen && l.to !== chosen
            return (
              <g key={`${l.from} ${l.to}`} data-away={away || undefined}>
                <path className={css.line} data-severity={l.severity} d={path.d} strokeWidth={Math.min(4, 1.25 + Math.log2(l.alerts.length))} markerEnd={`url(#${id})`} />
              </g>
            )
          })}
          {size === 'wide' && (g.links.length <= 14 || chosen !== null) && g.links.map((l) => {
            if (chosen !== null && l.from !== chosen && l.to !== chosen) return null
            const { x, y, end } = placeOf(l, g, at)
            return <text key={`${l.from} ${l.to}`} className={css.lineText} data-end={end} x={x} y={y}>{cut(ownName(l.techniques[0] ?? '') ?? l.techniques[0] ?? '', 22)}{l.techniques.length > 1 && ` +${l.techniques.length - 1}`}</text>
          })}
        </g>
        {g.nodes.map((n) => (
          <g key={n.host} className={css.node} data-role={n.role} data-away={(chosen !== null && !near.has(n.host)) || undefined} transform={`translate(${n.x} ${n.y})`}
            role="button" tabIndex={0} aria-pressed={n.host === chosen}
            aria-label={t('incident.node', { kind: t(`incident.kind.${n.kind}`), host: n.host || t('incident.several'), role: roleWords(t, n), alerts: t('incidents.alertCount', { count: n.alerts }) })}
            onClick={() => onChoose(n.host)}
            onKeyDown={(e) => {
              if (e.key !== 'Enter' && e.key !== ' ') return
              e.preventDefault()
              onChoose(n.host)
            }}>
            <title>{n.host || t('incident.several')}</title>
            <rect width={g.nodeWidth} height={nodeHeight} rx={n.kind === 'host' ? 5 : 19} />
            <text x={10} y={16}>{cut(n.host || t('incident.several'), textLength[size])}</text>
            <text className={css.nodeSub} x={10} y={30}>{cut(n.alone ? deedWords(n.alone) : roleWords(t, n), textLength[size] + 7)}</text>
          </g>
        ))}
      </svg>
    </div>
  )
}

/** From the right edge of one box to the left edge of the other; within a column, and backwards, round the right side. */
function pathOf(a: GraphNode, b: GraphNode, nodeWidth: number): { d: string; x: number; y: number } {
  const y1 = a.y + nodeHeight / 2
  const y2 = b.y + nodeHeight / 2
  if (b.x > a.x) {
    const x1 = a.x + nodeWidth
    const x2 = b.x - 2
    const bend = (x2 - x1) / 2
    return { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2 }
  }
  const x1 = a.x + nodeWidth
  const x2 = b.x + nodeWidth + 2
  const out = Math.max(x1, x2) + 46
  return { d: `M${x1} ${y1 - 6}C${out} ${y1 - 6} ${out} ${y2 + 6} ${x2} ${y2 + 6}`, x: Math.max(x1, x2) + 40, y: (y1 + y2) / 2 }
}

/** A line's words stand where no other line comes close: at its end, else at its beginning, else in the middle. */
function placeOf(l: Deed, g: Graph, at: Map<string, GraphNode>): { x: number; y: number; end?: 'from' | 'to' } {
  const a = at.get(l.from)!
  const b = at.get(l.to)!
  if (b.x > a.x) {
    if (g.links.filter((o) => o.to === l.to).length === 1) return { x: b.x - 12, y: b.y + nodeHeight / 2 - 6, end: 'to' }
    if (g.links.filter((o) => o.from === l.from).length === 1) return { x: a.x + g.nodeWidth + 8, y: a.y + nodeHeight / 2 - 6, end: 'from' }
  }
  const { x, y } = pathOf(a, b, g.nodeWidth)
  return { x, y: y - 4 }
}

function DeedTable({ incident: i }: { incident: IncidentDetail }) {
  const { t } = useTranslation()
  return (
    <div className={ui.tableWrap} tabIndex={0} role="group" aria-label={t('incident.graph')}>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('incident.graphLabel')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('incident.from')}</th>
            <th scope="col">{t('incident.to')}</th>
            <th scope="col">{t('incident.did')}</th>
            <th scope="col" className={ui.medium}>{t('incident.severity')}</th>
            <th scope="col" className={ui.right}>{t('incidents.alerts')}</th>
          </tr>
        </thead>
        <tbody>
          {linksOf(i.alerts).map((l) => (
            <tr key={`${l.from} ${l.to}`}>
              <td className="mono break">{l.from || <span className="dim">{t('incident.several')}</span>}</td>
              <td className="mono break">{l.to === l.from ? <span className="dim">{t('incident.itself')}</span> : l.to}</td>
              <td><Techniques ids={l.techniques} long matrix /></td>
              <td className={ui.medium}><SeverityMark severity={l.severity} /></td>
              <td className={`${ui.right} num`}>{count(l.alerts.length)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {i.accounts.length > 0 && <AccountTable accounts={i.accounts} />}
    </div>
  )
}

function AccountTable({ accounts }: { accounts: Account[] }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('incident.accounts')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('incident.account')}</th>
          <th scope="col">{t('incident.gotIn')}</th>
          <th scope="col" className={ui.right}>{t('incidents.alerts')}</th>
        </tr>
      </thead>
      <tbody>
        {accounts.map((a) => (
          <tr key={a.name}>
            <td className="mono break">{a.name}</td>
            <td>{a.got_in.length > 0 ? t('incident.accountIn') : t('incident.accountTried')}</td>
            <td className={`${ui.right} num`}>{count(a.got_in.length + a.tried.length)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
