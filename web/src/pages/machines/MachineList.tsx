// The list itself. Only rows in view are drawn, only the parts they are in are read, and a row is drawn anew only when it changed.
import { useQueries } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { memo, type Dispatch, type SetStateAction } from 'react'
import { useTranslation } from 'react-i18next'
import { machineIDs, machinePart, partSize } from '../../api/machines'
import type { Agent } from '../../api/types'
import { count } from '../../lib/format'
import { machineViewQuery, partsOf, sortAfter, type MachineAddress, type MachineSort } from '../../lib/machineFilter'
import '../../locales/machines'
import { MachineState, StateMark } from '../../ui/marks'
import { Loading, Problem } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { useRows } from '../flows/useRows'
import css from './machines.module.css'

type Choose = Dispatch<SetStateAction<ReadonlySet<string>>>

interface Props {
  address: MachineAddress
  /** How many there are; 0 until that is known. */
  total: number
  /** Undefined for who may not choose. */
  chosen: ReadonlySet<string> | undefined
  onChoose: Choose
  onSort: (sort: MachineAddress['sort']) => void
}

const columns: { sort: MachineSort; words: 'name' | 'state' | 'group' | 'system' | 'plugins' | 'version' | 'seen'; hidden?: boolean }[] = [
  { sort: 'name', words: 'name' },
  { sort: 'state', words: 'state' },
  { sort: 'group', words: 'group', hidden: true },
  { sort: 'system', words: 'system', hidden: true },
  { sort: 'health', words: 'plugins', hidden: true },
  { sort: 'version', words: 'version', hidden: true },
  { sort: 'seen', words: 'seen' },
]

export function MachineList({ address, total, chosen, onChoose, onSort }: Props) {
  const { t } = useTranslation()
  const name = machineViewQuery(address)
  const tell = useTell()
  const rows = useRows(total, name)
  const parts = partsOf(rows.window.first, rows.window.end, partSize)
  const read = useQueries({ queries: parts.map((p) => machinePart(address, p)) })
  const byPart = new Map(parts.map((p, i) => [p, read[i]?.data?.items]))
  const failed = read.find((r) => r.isError)
  const at = (row: number): Agent | undefined => byPart.get(Math.floor(row / partSize))?.[row % partSize]
  const shown = Array.from({ length: Math.max(0, rows.window.end - rows.window.first) }, (_, i) => rows.window.first + i)

  const whole = chosen !== undefined && total > 0 && chosen.size >= total
  const chooseAll = async () => {
    if (whole) return onChoose(new Set())
    try {
      const { ids } = await machineIDs(address)
      onChoose(new Set(ids))
      if ((ids?.length ?? 0) < total) tell.done(t('list.tooMany', { count: ids?.length ?? 0 }))
    } catch (error) {
      tell.failed(error)
    }
  }

  const order = address.sort ?? 'name'
  if (total === 0) return failed ? <Problem error={failed.error} retry={() => void failed.refetch()} /> : <Loading rows={8} />
  return (
    <>
      {failed && <Problem error={failed.error} retry={() => void failed.refetch()} />}
      <div ref={rows.scroller} className={css.scroller} onScroll={rows.onScroll}>
        <table role="grid" className={`${ui.table} ${css.table}`} aria-rowcount={total + 1} aria-multiselectable={chosen !== undefined || undefined} onKeyDown={rows.onKey}>
          <caption className="visually-hidden">{t('machines.list')}. {t('list.help')}</caption>
          <thead>
            <tr aria-rowindex={1}>
              {chosen && (
                <th scope="col" className={css.choose}>
                  <label>
                    <span className="visually-hidden">{t('list.choosing')}</span>
                    <input type="checkbox" aria-label={t('list.chooseAll')} checked={whole} ref={(box) => { if (box) box.indeterminate = chosen.size > 0 && !whole }} onChange={() => void chooseAll()} />
                  </label>
                </th>
              )}
              {columns.map((c) => (
                <th key={c.sort} scope="col" data-col={c.hidden ? c.words : undefined} aria-sort={order === c.sort ? 'ascending' : order === `-${c.sort}` ? 'descending' : undefined}>
                  <button type="button" className={css.sort} onClick={() => onSort(sortAfter(address.sort, c.sort))}>
                    {c.words === 'group' ? t('machine.group') : t(`machines.${c.words}`)}
                    {order === c.sort ? ' ↑' : order === `-${c.sort}` ? ' ↓' : ''}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.window.before > 0 && <Space height={rows.window.before} />}
            {shown.map((row) => {
              const a = at(row)
              return a
                ? <Row key={row} agent={a} row={row} tabstop={row === rows.current} chosen={chosen?.has(a.id)} onChoose={onChoose} onFocus={rows.setCurrent} />
                : <tr key={row} aria-rowindex={row + 2}><td colSpan={columns.length + 1} className="dim">{t('list.loadingRow')}</td></tr>
            })}
            {rows.window.after > 0 && <Space height={rows.window.after} />}
          </tbody>
        </table>
      </div>
    </>
  )
}

interface RowProps {
  agent: Agent
  row: number
  tabstop: boolean
  chosen: boolean | undefined
  onChoose: Choose
  onFocus: (row: number) => void
}

const Row = memo(function Row({ agent: a, row, tabstop, chosen, onChoose, onFocus }: RowProps) {
  const { t } = useTranslation()
  const labels = Object.entries(a.labels ?? {}).map(([k, v]) => (v ? `${k}=${v}` : k))
  return (
    <tr className={ui.row} aria-rowindex={row + 2} aria-selected={chosen}>
      {chosen !== undefined && (
        <td className={css.choose}>
          <label><input type="checkbox" aria-label={t('list.choose', { name: a.name })} checked={chosen} onChange={() => onChoose((now) => toggled(now, a.id))} /></label>
        </td>
      )}
      <td className={css.name}>
        <Link to="/machines/$id" params={{ id: a.id }} preload={false} className={ui.main} data-row={row} tabIndex={tabstop ? 0 : -1} onFocus={() => onFocus(row)}>{a.name}</Link>
        <div className={ui.sub}><span className="mono">{a.address}</span>{labels.length > 0 && <> · {labels.join(', ')}</>}</div>
      </td>
      <td><MachineState agent={a} /></td>
      <td data-col="group"><div className={css.cut}>{a.group}</div></td>
      <td data-col="system">{a.os}/{a.arch}</td>
      <td data-col="plugins" className="num">{a.failing > 0 ? <StateMark tone="bad">{t('list.failing', { count: a.failing })}</StateMark> : count(a.plugin_count)}</td>
      <td data-col="version"><div className={css.cut}>{a.version}</div></td>
      <td><Ago at={a.last_seen} /></td>
    </tr>
  )
})

function toggled(now: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(now)
  if (!next.delete(id)) next.add(id)
  return next
}

/** Stands for the rows that are not drawn. */
function Space({ height }: { height: number }) {
  return <tr aria-hidden="true" className={css.space}><td colSpan={columns.length + 1} style={{ height }} /></tr>
}
