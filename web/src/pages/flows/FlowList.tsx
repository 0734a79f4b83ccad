// The flows, as many as somebody scrolls to. Only rows in view are drawn, and more are read before the end is reached.
import { Button, Checkbox, Popover } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useMemo, useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { deviceNames, flows, type Flow } from '../../api/traffic'
import { bytes, count, second } from '../../lib/format'
import { columns, columnsOf, filterOf, standardSort, type FlowColumn, type FlowSort } from '../../lib/flowFilter'
import { featureValue, protocolName } from '../../lib/flowWords'
import { Panel } from '../../ui/Page'
import { Loading, Problem } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import { Endpoint } from './Endpoint'
import type { Exploring } from './Flows'
import css from './flows.module.css'
import { rowHeight, useRows } from './useRows'

const numeric: FlowColumn[] = ['bytes', 'packets', 'duration', 'vlan']
/** A click on the heading sorts; a second one on the start turns it round. */
const sortable: Partial<Record<FlowColumn, FlowSort[]>> = { start: ['-start', 'start'], bytes: ['-bytes'], packets: ['-packets'], duration: ['-duration'] }
const nearEnd = 60

export function FlowList({ address, change, total }: Exploring & { total: number }) {
  const { t } = useTranslation()
  const sort = address.sort ?? standardSort
  const filter = filterOf(address)
  const query = useInfiniteQuery(flows(filter, sort))
  const { data: names } = useQuery(deviceNames)
  const items = useMemo(() => query.data?.pages.flatMap((p) => p.items) ?? [], [query.data])
  const rows = useRows(items.length, JSON.stringify([filter, sort]))
  const shown = columnsOf(address)

  const { hasNextPage, isFetchingNextPage, isPlaceholderData, fetchNextPage, isError } = query
  useEffect(() => {
    if (rows.window.end + nearEnd > items.length && hasNextPage && !isFetchingNextPage && !isPlaceholderData && !isError) void fetchNextPage()
  }, [rows.window.end, items.length, hasNextPage, isFetchingNextPage, isPlaceholderData, isError, fetchNextPage])

  return (
    <Panel title={t('traffic.flows.list')} flush hint={<span className="num">{t('traffic.flows.shown', { shown: count(items.length), all: count(total) })}</span>}
      actions={<ColumnsMenu shown={shown} onChange={(cols) => change({ cols: cols.join() })} />}>
      {query.isError && <div className={css.problem}><Problem error={query.error} retry={() => void (hasNextPage ? fetchNextPage() : query.refetch())} /></div>}
      {items.length === 0 ? (query.isPending && <Loading rows={8} />) : (
        <div ref={rows.scroller} className={css.scroller} onScroll={rows.onScroll} data-old={isPlaceholderData || undefined}>
          <table className={`${ui.table} ${css.table}`} aria-rowcount={total + 1} onKeyDown={rows.onKey}>
            <caption className="visually-hidden">{t('traffic.flows.list')}. {t('traffic.flows.listHelp')}</caption>
            <thead>
              <tr aria-rowindex={1}>
                <th scope="col">{t('traffic.flows.conversation')}</th>
                {shown.map((c) => <Heading key={c} column={c} sort={sort} onSort={(to) => change({ sort: to })} />)}
              </tr>
            </thead>
            <tbody>
              {rows.window.before > 0 && <Space height={rows.window.before} columns={shown.length + 1} />}
              {items.slice(rows.window.first, rows.window.end).map((f, i) => {
                const row = rows.window.first + i
                return <Row key={`${f.capture} ${f.id}`} flow={f} row={row} current={row === rows.current} onFocus={() => rows.setCurrent(row)} shown={shown} names={names} />
              })}
              {rows.window.after > 0 && <Space height={rows.window.after} columns={shown.length + 1} />}
            </tbody>
          </table>
          {isFetchingNextPage && <p className={css.reading} role="status">{t('traffic.flows.loadingMore')}</p>}
        </div>
      )}
    </Panel>
  )
}

/** Stands for the rows that are not drawn. */
function Space({ height, columns: n }: { height: number; columns: number }) {
  return <tr aria-hidden="true" className={css.space}><td colSpan={n} style={{ height }} /></tr>
}

function Heading({ column, sort, onSort }: { column: FlowColumn; sort: FlowSort; onSort: (to: FlowSort) => void }) {
  const { t } = useTranslation()
  const orders = sortable[column]
  const here = orders?.indexOf(sort) ?? -1
  const label = t(`traffic.flows.cols.${column}`)
  return (
    <th scope="col" data-col={column} className={numeric.includes(column) ? ui.right : undefined} aria-sort={here < 0 ? undefined : sort.startsWith('-') ? 'descending' : 'ascending'}>
      {orders ? (
        <button type="button" className={css.sort} onClick={() => onSort(orders[(here + 1) % orders.length]!)}>
          {label}<span aria-hidden="true">{here < 0 ? '' : sort.startsWith('-') ? ' ↓' : ' ↑'}</span>
        </button>
      ) : label}
    </th>
  )
}

interface RowProps {
  flow: Flow
  row: number
  current: boolean
  onFocus: () => void
  shown: FlowColumn[]
  names?: Parameters<typeof Endpoint>[0]['names']
}

function Row({ flow: f, row, current, onFocus, shown, names }: RowProps) {
  return (
    <tr className={ui.row} aria-rowindex={row + 2} style={{ height: rowHeight }}>
      <td className={css.conversation}>
        <Link to="/captures/$id/flows/$flow" params={{ id: f.capture, flow: String(f.id) }} className={ui.main} data-row={row} tabIndex={current ? 0 : -1} onFocus={onFocus} preload={false}>
          <Endpoint address={f.src} port={f.src_port} proto={f.proto} names={names} />
          <span className={css.to}><span aria-hidden="true">→ </span><Endpoint address={f.dst} port={f.dst_port} proto={f.proto} names={names} /></span>
        </Link>
      </td>
      {shown.map((c) => <td key={c} data-col={c} className={numeric.includes(c) ? `${ui.right} num` : undefined}>{cell(f, c)}</td>)}
    </tr>
  )
}

function cell(f: Flow, column: FlowColumn): ReactNode {
  switch (column) {
    case 'start':
      return <time dateTime={f.start} title={f.start} className="num">{second(new Date(f.start), new Date())}</time>
    case 'app':
      return f.app ? protocolName(f.app) : <span className="dim">–</span>
    case 'proto':
      return protocolName(f.proto)
    case 'info':
      return <span className={css.info} title={f.name}>{f.name}</span>
    case 'bytes':
      return <Bytes flow={f} />
    case 'packets':
      return count(f.packets)
    case 'duration':
      return featureValue(f.duration, 's')
    case 'end':
      return f.end_reason
    case 'tunnel':
      return f.tunnel && `${protocolName(f.tunnel)}${f.tunnel_id ? ` ${f.tunnel_id}` : ''}`
    case 'vlan':
      return f.vlan || ''
    case 'capture':
      return <span className={`${css.info} mono`}>{f.capture}</span>
  }
}

/** How much, and how much of it went to the server. */
function Bytes({ flow: f }: { flow: Flow }) {
  const part = f.bytes > 0 ? (f.fwd_bytes / f.bytes) * 100 : 0
  return (
    <>
      {bytes(f.bytes)}
      <span className={css.split} aria-hidden="true"><i style={{ width: `${part}%` }} /></span>
    </>
  )
}

function ColumnsMenu({ shown, onChange }: { shown: FlowColumn[]; onChange: (columns: FlowColumn[]) => void }) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-end" floatingStrategy="fixed" trapFocus returnFocus>
      <Popover.Target><Button variant="default" size="xs" onClick={() => setOpen(!open)}>{t('traffic.flows.columns')}</Button></Popover.Target>
      <Popover.Dropdown aria-label={t('traffic.flows.columns')}>
        <div className={css.menu}>
          {columns.map((c) => (
            <Checkbox key={c} size="xs" label={t(`traffic.flows.cols.${c}`)} checked={shown.includes(c)}
              onChange={(e) => onChange(columns.filter((o) => (o === c ? e.currentTarget.checked : shown.includes(o))))} />
          ))}
        </div>
      </Popover.Dropdown>
    </Popover>
  )
}
