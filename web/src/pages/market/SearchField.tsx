import { TextInput } from '@mantine/core'
import { useCallback, useEffect, useRef, useState, type KeyboardEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { SearchIcon } from '../../ui/icons'
import css from './market.module.css'

/** Typing searches by itself, after a moment. */
const pause = 180

/** The search field. "/" leads to it from anywhere, the down arrow leads on to the results. */
export function SearchField({ value, onSearch }: { value: string; onSearch: (q: string) => void }) {
  const { t } = useTranslation()
  const [text, setText] = useState(value)
  const input = useRef<HTMLInputElement>(null)
  const sent = useRef(value)
  const search = useRef(onSearch)
  useEffect(() => {
    search.current = onSearch
  })

  // Somebody went back, or a link changed the words.
  useEffect(() => {
    if (value === sent.current) return
    sent.current = value
    setText(value)
  }, [value])

  const send = useCallback((words: string) => {
    if (words.trim() === sent.current) return
    sent.current = words.trim()
    search.current(sent.current)
  }, [])
  useEffect(() => {
    const timer = setTimeout(() => send(text), pause)
    return () => clearTimeout(timer)
  }, [text, send])

  useEffect(() => {
    const slash = (event: globalThis.KeyboardEvent) => {
      const at = event.target as HTMLElement
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return
      event.preventDefault()
      input.current?.focus()
      input.current?.select()
    }
    window.addEventListener('keydown', slash)
    return () => window.removeEventListener('keydown', slash)
  }, [])

  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') {
      const first = document.querySelector<HTMLElement>('[data-hit]')
      if (first) {
        event.preventDefault()
        first.focus()
      }
    } else if (event.key === 'Enter') {
      event.preventDefault()
      send(text)
    } else if (event.key === 'Escape' && text !== '') {
      event.preventDefault()
      setText('')
    }
  }
  return (
    <search className={css.search}>
      <TextInput ref={input} type="search" size="md" aria-label={t('market.search')} placeholder={t('market.searchHint')} value={text} spellCheck={false} autoComplete="off"
        leftSection={<SearchIcon />} rightSection={text === '' ? <kbd className={css.key} aria-hidden="true">/</kbd> : null}
        aria-keyshortcuts="/" onChange={(e) => setText(e.currentTarget.value)} onKeyDown={onKey}
        onBlur={() => send(text) /* a search that began later would lead back from wherever somebody went */} />
    </search>
  )
}

/** The arrow keys walk through the results; up from the first leads back to the search field. */
export function walkHits(event: KeyboardEvent<HTMLElement>): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (step === undefined) return
  const hits = [...event.currentTarget.querySelectorAll<HTMLElement>('[data-hit]')]
  const here = hits.indexOf(document.activeElement as HTMLElement)
  if (here < 0) return
  event.preventDefault()
  const next = hits[here + step]
  if (next) next.focus()
  else if (step < 0) document.querySelector<HTMLElement>('input[type=search]')?.focus()
}
