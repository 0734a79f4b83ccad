// The packets of a flow: a list, and of the chosen one its bytes beside what they mean.
import { Button } from '@mantine/core'
import { useInfiniteQuery, type UseInfiniteQueryResult } from '@tanstack/react-query'
import { useRef, useState, type KeyboardEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { flowPackets, type DecodedPacket, type FlowDetail } from '../../api/traffic'
import { count } from '../../lib/format'
import { rowAfterKey } from '../../lib/windowed'
import { Panel } from '../../ui/Page'
import { Empty, LoadedList } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import css from './packets.module.css'
import { PacketView } from './PacketView'

/** Reading packets means reading the capture again, so it is done when somebody wants them. */
export function Packets({ flow: f }: { flow: FlowDetail }) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  return (
    <Panel title={t('traffic.packets.title')} hint={open ? t('traffic.packets.hint') : undefined} flush>
      {open ? <OfFlow flow={f} /> : (
        <div className={ui.panelBody}><Button variant="default" onClick={() => setOpen(true)}>{t('traffic.packets.show')}</Button></div>
      )}
    </Panel>
  )
}

function OfFlow({ flow: f }: { flow: FlowDetail }) {
  const { t } = useTranslation()
  return <PacketList query={useInfiniteQuery(flowPackets(f.capture, f.id))} start={f.start} none={t('traffic.packets.none')} />
}

/** Packets and the chosen one of them; without a start, times count from the first. */
export function PacketList({ query, start, none }: { query: UseInfiniteQueryResult<DecodedPacket[]>; start?: string; none: string }) {
  const [chosen, setChosen] = useState(0)
  return (
    <LoadedList query={query} empty={<Empty title={none} />}>
      {(items) => (
        <>
          <PacketTable items={items} start={Date.parse(start ?? items[0]!.time)} chosen={Math.min(chosen, items.length - 1)} onChoose={setChosen} />
          <PacketView key={items[chosen]?.number} packet={items[Math.min(chosen, items.length - 1)]!} />
        </>
      )}
    </LoadedList>
  )
}

function PacketTable({ items, start, chosen, onChoose }: { items: DecodedPacket[]; start: number; chosen: number; onChoose: (row: number) => void }) {
  const { t } = useTranslation()
  const ofFlow = items.some((p) => p.direction !== 'none')
  const body = useRef<HTMLTableSectionElement>(null)
  const onKey = (event: KeyboardEvent) => {
    const next = rowAfterKey(event.key, chosen, items.length, 10)
    if (next === null) return
    event.preventDefault()
    onChoose(next)
    body.current?.querySelectorAll<HTMLElement>('button')[next]?.focus()
  }
  return (
    <div className={css.list}>
      <table className={`${ui.table} ${css.table}`}>
        <caption className="visually-hidden">{t('traffic.packets.title')}. {t('traffic.packets.keys')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('traffic.packets.number')}</th>
            <th scope="col" className={ui.right}>{t('traffic.packets.time')}</th>
            <th scope="col">{t(ofFlow ? 'traffic.packets.direction' : 'traffic.packets.between')}</th>
            <th scope="col" className={ui.medium}>{t('traffic.packets.protocol')}</th>
            <th scope="col" className={ui.medium}>{t('traffic.packets.info')}</th>
            <th scope="col" className={ui.right}>{t('traffic.packets.length')}</th>
          </tr>
        </thead>
        <tbody ref={body} onKeyDown={onKey}>
          {items.map((p, i) => (
            <tr key={p.number} className={ui.row} data-chosen={i === chosen || undefined}>
              <td>
                <button type="button" className={`${ui.main} ${css.choose} num`} aria-label={t('traffic.packets.choose', { n: p.number })} aria-pressed={i === chosen} tabIndex={i === chosen ? 0 : -1} onClick={() => onChoose(i)}>{count(p.number)}</button>
              </td>
              <td className={`${ui.right} num`}>{((Date.parse(p.time) - start) / 1000).toFixed(3)} s</td>
              <td>{ofFlow ? <Direction of={p.direction} /> : <span className="mono break">{[p.src, p.dst].filter(Boolean).join(' → ')}</span>}</td>
              <td className={ui.medium}>{p.protocol}</td>
              <td className={ui.medium}>{p.flags ?? ''}</td>
              <td className={`${ui.right} num`}>{count(p.length)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Direction({ of }: { of: DecodedPacket['direction'] }) {
  const { t } = useTranslation()
  return <span className={css.direction} data-of={of}><span aria-hidden="true">{of === 'forward' ? '→' : of === 'backward' ? '←' : ''} </span>{t(`traffic.packets.dirs.${of}`)}</span>
}
