// The alerts, as many as somebody scrolls to. One row at a time has the tabstop; only rows in view are drawn.
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Alert } from '../../api/types'
import { count } from '../../lib/format'
import '../../locales/alerts'
import { SeverityMark, State } from '../../ui/marks'
import { Ago } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import { rowHeight, type useRows } from '../flows/useRows'
import { between } from '../words'
import css from './alerts.module.css'

interface Props {
  items: Alert[]
  rows: ReturnType<typeof useRows>
  open: string | undefined
  /** More of them are on the way. */
  reading: boolean
  /** Leads from the row of the open alert into it. */
  read: () => void
  /** The arrows went to another row. */
  onMoved: (a: Alert) => void
}

const columnCount = 7

export function AlertList({ items, rows, open, reading, read, onMoved }: Props) {
  const { t } = useTranslation()
  return (
    <div ref={rows.scroller} className={css.scroller} onScroll={rows.onScroll}>
      <table role="grid" className={`${ui.table} ${css.table}`} aria-rowcount={items.length + 1} onKeyDown={rows.onKey}>
        <caption className="visually-hidden">{t('alerts.title')}. {t('triage.help')}</caption>
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col">{t('alerts.severity')}</th>
            <th scope="col">{t('alerts.what')}</th>
            <th scope="col" data-col="techniques">{t('alerts.techniques')}</th>
            <th scope="col" data-col="risk" className={ui.right}>{t('alerts.risk')}</th>
            <th scope="col" data-col="count" className={ui.right}>{t('alerts.count')}</th>
            <th scope="col" data-col="state">{t('alerts.state')}</th>
            <th scope="col">{t('alerts.last')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.window.before > 0 && <Space height={rows.window.before} />}
          {items.slice(rows.window.first, rows.window.end).map((a, i) => {
            const row = rows.window.first + i
            const shown = a.id === open
            return (
              <tr key={a.id} className={ui.row} aria-rowindex={row + 2} aria-selected={shown} style={{ height: rowHeight }}>
                <td><SeverityMark severity={a.severity} /></td>
                <td className={css.what}>
                  <Link from="/alerts" to="/alerts" search={(s) => ({ ...s, open: a.id })} replace={open !== undefined} resetScroll={false} preload={false} className={ui.main}
                    data-row={row} tabIndex={row === rows.current ? 0 : -1}
                    onFocus={() => {
                      rows.setCurrent(row)
                      if (!shown) onMoved(a)
                    }}
                    onClick={(e) => {
                      if (!shown) return
                      e.preventDefault()
                      if (e.detail === 0) read() // by the keyboard
                    }}>
                    {a.title}
                  </Link>
                  <div className={ui.sub}><span className="mono">{between(a.src, a.dst)}</span> · {a.detector}</div>
                </td>
                <td data-col="techniques"><span className="mono">{a.techniques.join(' ') || '–'}</span></td>
                <td data-col="risk" className={`${ui.right} num`}>{a.risk}</td>
                <td data-col="count" className={`${ui.right} num`}>{count(a.count)}</td>
                <td data-col="state"><State of={a.state} /></td>
                <td><Ago at={a.last_seen} /></td>
              </tr>
            )
          })}
          {rows.window.after > 0 && <Space height={rows.window.after} />}
        </tbody>
      </table>
      {reading && <p className={css.reading} role="status">{t('triage.loadingMore')}</p>}
    </div>
  )
}

/** Stands for the rows that are not drawn. */
function Space({ height }: { height: number }) {
  return <tr aria-hidden="true" className={css.space}><td colSpan={columnCount} style={{ height }} /></tr>
}
