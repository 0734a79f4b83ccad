import { TextInput } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { useId, useState, type RefObject } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins, type AlertFilter } from '../../api/queries'
import { useMay } from '../../api/useMay'
import { techniqueName } from '../../lib/techniques'
import { narrowTo } from '../../lib/triage'
import '../../locales/alerts'
import { CloseIcon, SearchIcon } from '../../ui/icons'
import css from './alerts.module.css'

type Narrowed = Pick<AlertFilter, 'technique' | 'detector' | 'entity' | 'capture' | 'since' | 'severity'>

const shown = ['technique', 'detector', 'entity', 'since', 'capture'] as const

interface Props {
  field: RefObject<HTMLInputElement | null>
  address: Narrowed
  onChange: (part: Narrowed) => void
}

/** One field for every word that narrows the list, and what it is narrowed to now. */
export function FilterBar({ field, address, onChange }: Props) {
  const { t } = useTranslation()
  const [text, setText] = useState('')
  const list = useId()
  const can = useMay()
  const { data: known } = useInfiniteQuery({ ...plugins, enabled: can('plugins:read') })
  const detectors = (known ?? []).filter((p) => p.kind === 'detector')
  const techniques = [...new Set(detectors.flatMap((p) => p.techniques))].toSorted()
  const submit = () => {
    onChange(narrowTo(text))
    setText('')
  }
  const words = { technique: address.technique, detector: address.detector, entity: address.entity, capture: address.capture && t('triage.by.capture'), since: address.since && t(`since.last.${address.since}`) }
  return (
    <div className={css.bar}>
      <form role="search" onSubmit={(e) => {
        e.preventDefault()
        submit()
      }}>
        <TextInput ref={field} size="xs" type="text" list={list} aria-label={t('triage.filter')} placeholder={t('triage.filter')} leftSection={<SearchIcon size={14} />}
          value={text} onChange={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => e.key === 'Escape' && e.currentTarget.blur()} />
        <datalist id={list}>
          {detectors.map((p) => <option key={p.id} value={p.id}>{p.title}</option>)}
          {techniques.map((id) => <option key={id} value={id}>{techniqueName(id)}</option>)}
        </datalist>
      </form>
      {shown.some((part) => words[part]) && (
        <ul className={css.bar} aria-label={t('triage.filters')}>
          {shown.filter((part) => words[part]).map((part) => {
            const what = t(`triage.by.${part}`, { of: words[part] })
            return (
              <li key={part}>
                <button type="button" className={css.chip} aria-label={t('triage.remove', { what })} onClick={() => onChange({ [part]: undefined })}>
                  <span className="break">{what}</span><CloseIcon size={12} />
                </button>
              </li>
            )
          })}
        </ul>
      )}
    </div>
  )
}
