// The incidents, as many as somebody scrolls to. One row at a time has the tabstop; only rows in view are drawn.
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Incident } from '../../api/types'
import { count, duration, wholePercent } from '../../lib/format'
import '../../locales/alerts'
import { State } from '../../ui/marks'
import { Ago } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import list from '../alerts/alerts.module.css'
import { rowHeight, type useRows } from '../flows/useRows'
import { Chain } from './Chain'
import css from './incidents.module.css'
import { ownerName } from './owner'
import { Risk } from './Risk'

const columnCount = 8
const hostsShown = 3

interface Props {
  items: Incident[]
  rows: ReturnType<typeof useRows>
  reading: boolean
}

export function IncidentList({ items, rows, reading }: Props) {
  const { t } = useTranslation()
  return (
    <div ref={rows.scroller} className={list.scroller} onScroll={rows.onScroll}>
      <table role="grid" className={`${ui.table} ${list.table} ${css.table}`} aria-rowcount={items.length + 1} onKeyDown={rows.onKey}>
        <caption className="visually-hidden">{t('incidents.title')}. {t('incidents.help')}</caption>
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col">{t('incidents.risk')}</th>
            <th scope="col">{t('incidents.what')}</th>
            <th scope="col" data-col="chain">{t('incidents.chain')}</th>
            <th scope="col" data-col="confidence" className={ui.right}>{t('incidents.confidence')}</th>
            <th scope="col" data-col="alerts" className={ui.right}>{t('incidents.alerts')}</th>
            <th scope="col">{t('incidents.last')}</th>
            <th scope="col" data-col="state">{t('incidents.state')}</th>
            <th scope="col" data-col="owner">{t('incidents.owner')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.window.before > 0 && <Space height={rows.window.before} />}
          {items.slice(rows.window.first, rows.window.end).map((i, n) => {
            const row = rows.window.first + n
            return (
              <tr key={i.id} className={ui.row} aria-rowindex={row + 2} style={{ height: rowHeight }}>
                <td><Risk of={i} /></td>
                <td className={list.what}>
                  <Link to="/incidents/$id" params={{ id: i.id }} preload={false} className={ui.main} data-row={row} tabIndex={row === rows.current ? 0 : -1} onFocus={() => rows.setCurrent(row)}>{i.title}</Link>
                  <div className={ui.sub}><Hosts of={i} /></div>
                </td>
                <td data-col="chain"><Chain stages={i.stages} /></td>
                <td data-col="confidence" className={`${ui.right} num`}>{wholePercent(i.confidence)}</td>
                <td data-col="alerts" className={`${ui.right} num`}>{count(i.alert_count)}</td>
                <td><Ago at={i.last_seen} /><div className={ui.sub}>{t('incidents.over', { time: duration((Date.parse(i.last_seen) - Date.parse(i.first_seen)) / 1000) })}</div></td>
                <td data-col="state"><State of={i.state} /></td>
                <td data-col="owner" className={css.owner}>{i.owner ? ownerName(i.owner) : <span className="dim">{t('incidents.nobody')}</span>}</td>
              </tr>
            )
          })}
          {rows.window.after > 0 && <Space height={rows.window.after} />}
        </tbody>
      </table>
      {reading && <p className={list.reading} role="status">{t('triage.loadingMore')}</p>}
    </div>
  )
}

function Hosts({ of: i }: { of: Incident }) {
  const { t } = useTranslation()
  const more = i.entity_count - hostsShown
  return (
    <>
      {t('incidents.hosts', { count: i.entity_count })}: <span className="mono">{i.entities.slice(0, hostsShown).map((e) => e.host).join(', ')}</span>
      {more > 0 && ` ${t('incidents.more', { count: more })}`}
    </>
  )
}

/** Stands for the rows that are not drawn. */
function Space({ height }: { height: number }) {
  return <tr aria-hidden="true" className={list.space}><td colSpan={columnCount} style={{ height }} /></tr>
}
