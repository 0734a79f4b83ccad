// Working through what detectors found: a list that the keyboard walks through, and one alert beside it.
import { Button, NativeSelect, SegmentedControl } from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { alerts as act } from '../api/actions'
import { alerts } from '../api/queries'
import { alertStates, severities, type Alert, type Severity } from '../api/types'
import { useMay } from '../api/useMay'
import { canMove, deedOf, withMoves, type Moves } from '../lib/triage'
import '../locales/alerts'
import { Page, Panel } from '../ui/Page'
import { Empty, Loading, Problem } from '../ui/states'
import { useTell } from '../ui/toasts'
import { useKeys } from '../ui/useKeys'
import { AlertList } from './alerts/AlertList'
import css from './alerts/alerts.module.css'
import { FilterBar } from './alerts/FilterBar'
import { Preview } from './alerts/Preview'
import { useRows } from './flows/useRows'

// Dialogs that few visits need.
const Keys = lazy(() => import('./alerts/Keys'))
const SuppressDialog = lazy(() => import('./incidents/SuppressDialog'))

const states = [...alertStates, 'all'] as const
const nearEnd = 60
const becomes = { acknowledge: 'acknowledged', resolve: 'resolved' } as const
export type Move = keyof typeof becomes

export function AlertsPage() {
  const { t } = useTranslation()
  const search = useSearch({ from: '/inside/alerts' })
  const navigate = useNavigate({ from: '/alerts' })
  const { state: wanted, open, ...narrowed } = search
  const state = wanted ?? (search.capture ? 'all' : 'firing')
  const filter = { ...narrowed, state: state === 'all' ? undefined : state }
  const query = useInfiniteQuery(alerts(filter))
  const { moves, move } = useMoves()
  const items = useMemo(() => withMoves((query.data ?? []) as Alert[], moves, state), [query.data, moves, state])
  const rows = useRows(items.length, JSON.stringify(filter))
  const [help, setHelp] = useState(false)
  const [suppressing, setSuppressing] = useState<Alert | null>(null)
  const can = useMay()
  const [letters, setLetters] = useLocalStorage({ key: 'picket-letter-keys', defaultValue: true })
  const filterField = useRef<HTMLInputElement>(null)
  const heading = useRef<HTMLHeadingElement>(null)

  const change = (part: Partial<typeof search>, how: { push?: boolean } = {}) =>
    void navigate({ search: { ...search, ...part }, replace: !how.push, resetScroll: false })
  const close = () => {
    const row = items.findIndex((a) => a.id === open)
    change({ open: undefined })
    if (row >= 0) rows.go(row)
  }

  const { hasNextPage, isFetchingNextPage, isError, fetchNextPage } = query
  useEffect(() => {
    if (rows.window.end + nearEnd > items.length && hasNextPage && !isFetchingNextPage && !isError) void fetchNextPage()
  }, [rows.window.end, items.length, hasNextPage, isFetchingNextPage, isError, fetchNextPage])

  // Where the list has no room beside the alert, reading goes on in the alert.
  useEffect(() => {
    if (open && rows.scroller.current?.checkVisibility() === false) heading.current?.focus()
  }, [open, rows.scroller])

  const onMove = (a: Alert, to: Move) => {
    if (!canMove(a, to)) return
    const row = items.findIndex((i) => i.id === a.id)
    const leaves = state !== 'all' && state !== becomes[to]
    if (leaves && row >= 0) {
      const next = items[row + 1] ?? items[row - 1]
      if (open) change({ open: next?.id })
      if (next) rows.go(Math.min(row, items.length - 2))
    }
    void move(a, to)
  }

  useKeys((event) => {
    if (help || suppressing) return
    const target = event.target as HTMLElement
    const deed = deedOf(event, letters)
    const onRow = target.closest<HTMLElement>('[data-row]')
    // Only what is seen to be chosen is acted on: the row with the focus, or else the alert that is open.
    const chosen = onRow ? items[Number(onRow.dataset.row)] : items.find((a) => a.id === open)
    const at = chosen ? items.indexOf(chosen) : -1
    const step = (n: number) => {
      const next = Math.max(0, Math.min(items.length - 1, chosen ? at + n : rows.current))
      if (!items[next]) return
      if (rows.scroller.current?.checkVisibility()) rows.go(next)
      if (open) change({ open: items[next].id })
    }
    if (deed === null || (deed === 'close' && !open)) return
    event.preventDefault()
    if (deed === 'next') step(1)
    else if (deed === 'previous') step(-1)
    else if (deed === 'filter') filterField.current?.focus()
    else if (deed === 'help') setHelp(true)
    else if (deed === 'close') close()
    else if (deed === 'suppress') {
      if (chosen && can('audit')) setSuppressing(chosen)
    } else if (chosen) onMove(chosen, deed)
  })

  return (
    <Page
      title={t('alerts.title')}
      lead={search.capture ? t('alerts.ofCapture') : t('alerts.lead')}
      actions={
        <>
          <SegmentedControl aria-label={t('alerts.state')} size="xs" value={state} onChange={(v) => change({ state: v as typeof state, open: undefined })}
            data={states.map((s) => ({ value: s, label: t(`alerts.filter.${s}`) }))} />
          <NativeSelect aria-label={t('alerts.severity')} size="xs" w={140} value={search.severity ?? ''}
            onChange={(e) => change({ severity: (e.currentTarget.value || undefined) as Severity | undefined })}
            data={[{ value: '', label: t('alerts.anySeverity') }, ...severities.toReversed().map((s) => ({ value: s as string, label: t(`severity.${s}`) }))]} />
          <Button variant="default" size="xs" onClick={() => setHelp(true)}>{t('triage.keys')}</Button>
          <Button component={Link} to="/suppressions" variant="default" size="xs">{t('triage.suppressions')}</Button>
        </>
      }
    >
      {suppressing && <Suspense><SuppressDialog like={suppressing} onClose={() => setSuppressing(null)} /></Suspense>}
      {help && <Suspense><Keys of="alerts" onClose={() => setHelp(false)} letters={letters} onLetters={setLetters} /></Suspense>}
      <FilterBar field={filterField} address={search} onChange={change} />
      <div className={css.split} data-open={open !== undefined || undefined}>
        <div className={css.list}>
          <Panel title={t(`alerts.filter.${state}`)} flush
            hint={items.length > 0 && <span className="num">{hasNextPage ? t('triage.shownMore', { count: items.length }) : t('triage.shown', { count: items.length })}</span>}>
            {query.isError && <Problem error={query.error} retry={() => void (hasNextPage ? fetchNextPage() : query.refetch())} />}
            {query.isPending && <Loading rows={8} />}
            {query.isSuccess && items.length === 0 && (
              <Empty title={state === 'firing' && Object.keys(narrowed).length === 0 ? t('alerts.none') : t('alerts.noneFiltered')} action={<Link to="/captures">{t('alerts.drop')}</Link>}>
                {t('alerts.noneText')}
              </Empty>
            )}
            {items.length > 0 && <AlertList items={items} rows={rows} open={open} reading={isFetchingNextPage} read={() => heading.current?.focus()} onMoved={(a) => open && change({ open: a.id })} />}
          </Panel>
        </div>
        {open !== undefined && (
          <Preview key={open} id={open} known={items.find((a) => a.id === open)} heading={heading} letters={letters} onMove={onMove} onSuppress={can('audit') ? setSuppressing : undefined} onClose={close} onEntity={(entity) => change({ entity })} />
        )}
      </div>
    </Page>
  )
}

/** Moves alerts on: the page shows it at once, and takes it back when the server refuses. */
function useMoves(): { moves: Moves; move: (a: Alert, to: Move) => Promise<void> } {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const [moves, setMoves] = useState<Moves>(new Map())
  const forget = (id: string) => setMoves((m) => new Map([...m].filter(([other]) => other !== id)))
  const move = async (a: Alert, to: Move) => {
    if (!can('watch')) return
    setMoves((m) => new Map(m).set(a.id, becomes[to]))
    try {
      await act[to](a.id)
      tell.done(t(`triage.${becomes[to]}`, { title: a.title }))
      await Promise.all([client.invalidateQueries({ queryKey: ['alerts'] }), client.invalidateQueries({ queryKey: ['overview'] })])
    } catch (error) {
      tell.failed(error)
    }
    forget(a.id)
  }
  return { moves, move }
}
