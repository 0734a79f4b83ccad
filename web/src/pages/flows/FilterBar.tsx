// The filters: a line to type them, and a chip for each that applies.
import { Button, NativeSelect, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { capture } from '../../api/queries'
import { bytes, clock, count, duration } from '../../lib/format'
import { chipsOf, ends, filterOf, protos, readFlowAddress, readWords, withFlow, without, type FlowAddress, type FlowField } from '../../lib/flowFilter'
import { protocolName } from '../../lib/flowWords'
import { CloseIcon, PlusIcon, SearchIcon } from '../../ui/icons'
import { useNow } from '../../ui/Time'
import css from './flows.module.css'

interface Props {
  address: FlowAddress
  go: (to: FlowAddress) => void
}

export function FilterBar({ address, go }: Props) {
  const { t } = useTranslation()
  const [words, setWords] = useState('')
  const [bad, setBad] = useState('')
  const input = useRef<HTMLInputElement>(null)
  useSlash(input)
  const add = (event: FormEvent) => {
    event.preventDefault()
    const wanted = readWords(words)
    if (Object.keys(wanted).length === 0) {
      setBad(words.trim() && t('traffic.flows.notUnderstood', { words: words.trim() }))
      return
    }
    setBad('')
    setWords('')
    go(withFlow(address, wanted))
  }
  return (
    <search className={css.filters}>
      <form className={css.line} onSubmit={add}>
        <TextInput ref={input} className={css.words} type="search" aria-label={t('traffic.flows.filterLabel')} placeholder={t('traffic.flows.filterHint')} value={words} error={bad || undefined}
          spellCheck={false} autoComplete="off" autoCapitalize="off" leftSection={<SearchIcon />} aria-keyshortcuts="/" rightSection={words === '' ? <kbd className={css.key} aria-hidden="true">/</kbd> : null}
          onChange={(e) => setWords(e.currentTarget.value)} />
        <Button type="submit" variant="default" leftSection={<PlusIcon size={14} />}>{t('traffic.flows.add')}</Button>
        <Choices address={address} go={go} />
      </form>
      <Chips address={address} go={go} />
    </search>
  )
}

/** "/" leads to the filter from anywhere. */
function useSlash(input: React.RefObject<HTMLInputElement | null>) {
  useEffect(() => {
    const slash = (event: KeyboardEvent) => {
      const at = event.target as HTMLElement
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return
      event.preventDefault()
      input.current?.focus()
    }
    window.addEventListener('keydown', slash)
    return () => window.removeEventListener('keydown', slash)
  }, [input])
}

/** What has few values need not be typed. */
function Choices({ address, go }: Props) {
  const { t } = useTranslation()
  return (
    <span className={css.choices}>
      <NativeSelect aria-label={t('traffic.flows.fields.proto')} value={address.proto ?? ''} onChange={(e) => go(withFlow(address, { proto: e.currentTarget.value || undefined }))}
        data={[{ value: '', label: t('traffic.flows.fields.proto') }, ...protos.map((p) => ({ value: p as string, label: protocolName(p) }))]} />
      <NativeSelect aria-label={t('traffic.flows.fields.end_reason')} value={address.end_reason ?? ''} onChange={(e) => go(withFlow(address, { end_reason: e.currentTarget.value || undefined }))}
        data={[{ value: '', label: t('traffic.flows.fields.end_reason') }, ...ends.map((r) => ({ value: r as string, label: t(`traffic.flow.ends.${r}`) }))]} />
    </span>
  )
}

function Chips({ address, go }: Props) {
  const { t } = useTranslation()
  const chips = chipsOf(filterOf(address))
  if (chips.length === 0) return null
  return (
    <ul className={css.chips} aria-label={t('traffic.flows.chips')}>
      {chips.map(({ field, fields }) => <FilterChip key={field} field={field} address={address} remove={() => go(without(address, fields))} />)}
      {chips.length > 1 && (
        <li><Button variant="subtle" size="compact-xs" onClick={() => go(readFlowAddress({ sort: address.sort, cols: address.cols }))}>{t('traffic.flows.clear')}</Button></li>
      )}
    </ul>
  )
}

function FilterChip({ field, address, remove }: { field: FlowField; address: FlowAddress; remove: () => void }) {
  const { t } = useTranslation()
  const said = useSaid(field, address)
  const name = t(`traffic.flows.fields.${field}`)
  return (
    <li className={css.chip}>
      <span className="dim">{name}</span> <b>{said}</b>
      <button type="button" aria-label={t('traffic.flows.remove', { name: `${name} ${said}` })} onClick={remove}><CloseIcon size={12} /></button>
    </li>
  )
}

/** The value of a filter in words. */
function useSaid(field: FlowField, a: FlowAddress): string {
  const { t } = useTranslation()
  const now = useNow()
  const named = useQuery({ ...capture(a.capture ?? ''), enabled: field === 'capture' && a.capture !== undefined })
  const at = (ms: number) => clock(new Date(ms), now)
  switch (field) {
    case 'capture':
      return named.data?.name ?? a.capture ?? ''
    case 'from':
      return a.from === undefined ? t('traffic.flows.until', { to: at(a.to!) }) : a.to === undefined ? t('traffic.flows.since', { from: at(a.from) }) : t('traffic.flows.range', { from: at(a.from), to: at(a.to) })
    case 'app':
    case 'proto':
    case 'tunnel':
      return a[field] === 'none' ? t('traffic.flows.any') : protocolName(a[field]!)
    case 'end_reason':
      return t(`traffic.flow.ends.${a.end_reason}` as 'traffic.flow.ends.fin', { defaultValue: a.end_reason })
    case 'min_bytes':
      return bytes(a.min_bytes!)
    case 'min_packets':
      return t('traffic.flows.packetsAtLeast', { n: count(a.min_packets!) })
    case 'min_duration':
      return duration(a.min_duration!)
    default:
      return String(a[field])
  }
}
