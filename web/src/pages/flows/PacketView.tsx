// One packet: what its headers say, and the bytes that say it. Choosing a field marks its bytes, and the other way round.
import { useMemo, useState, type KeyboardEvent } from 'react'
import { useTranslation } from 'react-i18next'
import type { DecodedLayer, DecodedPacket } from '../../api/traffic'
import { count } from '../../lib/format'
import { bytesOf, covers, hexRows, innermost, type Span } from '../../lib/hex'
import css from './packets.module.css'

interface Part extends Span {
  key: string
}

/** Everything that has a place in the bytes: layers, and the fields in them. */
function partsOf(layers: readonly DecodedLayer[]): Part[] {
  return layers.flatMap((l, i) => [
    { key: `${i}`, offset: l.offset, length: l.length },
    ...l.fields.map((f, j) => ({ key: `${i}.${j}`, offset: f.offset, length: f.length })),
  ])
}

export function PacketView({ packet: p }: { packet: DecodedPacket }) {
  const { t } = useTranslation()
  const bytes = useMemo(() => bytesOf(p.hex), [p.hex])
  const parts = useMemo(() => partsOf(p.layers), [p.layers])
  const [chosen, setChosen] = useState<string | null>(null)
  const span = parts.find((part) => part.key === chosen)
  return (
    <div className={css.view}>
      <Layers packet={p} chosen={chosen} onChoose={(key) => setChosen(key === chosen ? null : key)} />
      <div className={css.bytes}>
        <Hex bytes={bytes} span={span} label={t('traffic.packets.bytes', { n: p.number })} onByte={(at) => setChosen(innermost(parts, at)?.key ?? null)} />
        {p.captured < p.length && <p className="dim">{t('traffic.packets.notCaptured', { captured: count(p.captured), all: count(p.length) })}</p>}
        {bytes.length < p.captured && <p className="dim">{t('traffic.packets.cut', { shown: count(bytes.length), all: count(p.captured) })}</p>}
      </div>
    </div>
  )
}

function Layers({ packet: p, chosen, onChoose }: { packet: DecodedPacket; chosen: string | null; onChoose: (key: string) => void }) {
  const { t } = useTranslation()
  return (
    <div className={css.layers} role="group" aria-label={t('traffic.packets.layers', { n: p.number })} onKeyDown={walk}>
      {p.layers.map((l, i) => (
        <section key={i} className={css.layer}>
          <h3>
            <button type="button" aria-pressed={chosen === `${i}`} onClick={() => onChoose(`${i}`)}>{l.name} <span className="dim">{count(l.length)} B</span></button>
          </h3>
          {l.error && <p className={css.error}>{l.error}</p>}
          <ul>
            {l.fields.map((f, j) => (
              <li key={j}>
                <button type="button" aria-pressed={chosen === `${i}.${j}`} onClick={() => onChoose(`${i}.${j}`)}>
                  <span className={css.field}>{f.name}</span> <span className="mono break">{f.value}</span>
                </button>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </div>
  )
}

/** The up and down keys lead from field to field. */
function walk(event: KeyboardEvent<HTMLElement>): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (step === undefined) return
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>('button')]
  const next = all[all.indexOf(document.activeElement as HTMLElement) + step]
  if (!next) return
  event.preventDefault()
  next.focus()
}

interface HexProps {
  bytes: Uint8Array
  span?: Span
  label: string
  onByte: (at: number) => void
}

function Hex({ bytes, span, label, onByte }: HexProps) {
  const marked = (at: number) => (span && covers(span, at) ? true : undefined)
  return (
    // The bytes are chosen with the pointer as a short cut; the fields beside them do the same for the keyboard.
    <pre className={css.hex} tabIndex={0} role="region" aria-label={label} onClick={(e) => {
      const at = (e.target as HTMLElement).dataset.at
      if (at !== undefined) onByte(Number(at))
    }}>
      {hexRows(bytes).map((row) => (
        <span key={row.offset} className={css.row}>
          <span className={css.offset}>{row.offset.toString(16).padStart(4, '0')}</span>
          <span className={css.pairs}>
            {row.bytes.map((b, i) => <span key={i} data-at={row.offset + i} data-on={marked(row.offset + i)}>{b}</span>)}
          </span>
          <span className={css.text}>
            {row.text.map((c, i) => <span key={i} data-at={row.offset + i} data-on={marked(row.offset + i)}>{c}</span>)}
          </span>
          {'\n'}
        </span>
      ))}
    </pre>
  )
}
