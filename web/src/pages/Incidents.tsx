// What belongs together, riskiest first: a list that the keyboard walks through.
import '../locales/alerts'
import '../locales/incident'
import { Button, NativeSelect, SegmentedControl, TextInput } from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useEffect, useRef, useState, type RefObject } from 'react'
import { useTranslation } from 'react-i18next'
import { incidentDeed, incidents, incidentSorts } from '../api/incidents'
import { sinceDays, type Since } from '../api/queries'
import { incidentStates, severities, type Incident, type Severity } from '../api/types'
import { useMay } from '../api/useMay'
import { deedOf, narrowTo } from '../lib/triage'
import { CloseIcon, SearchIcon } from '../ui/icons'
import { Page, Panel } from '../ui/Page'
import { Empty, Loading, Problem } from '../ui/states'
import { useTell } from '../ui/toasts'
import { useKeys } from '../ui/useKeys'
import css from './alerts/alerts.module.css'
import { useRows } from './flows/useRows'
import { IncidentList } from './incidents/IncidentList'

// A dialog that few visits need.
const Keys = lazy(() => import('./alerts/Keys'))

const states = [...incidentStates, 'all'] as const
const nearEnd = 30

export function IncidentsPage() {
  const { t } = useTranslation()
  const search = useSearch({ from: '/inside/incidents' })
  const navigate = useNavigate({ from: '/incidents' })
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const { state: wanted, sort = 'risk', ...narrowed } = search
  const state = wanted ?? 'open'
  const query = useInfiniteQuery(incidents({ ...narrowed, state: state === 'all' ? undefined : state }, sort))
  const items = query.data ?? []
  const rows = useRows(items.length, JSON.stringify(search))
  const [help, setHelp] = useState(false)
  const [letters, setLetters] = useLocalStorage({ key: 'picket-letter-keys', defaultValue: true })
  const field = useRef<HTMLInputElement>(null)
  const change = (part: Partial<typeof search>) => void navigate({ search: { ...search, ...part }, replace: true, resetScroll: false })

  const { hasNextPage, isFetchingNextPage, isError, fetchNextPage } = query
  useEffect(() => {
    if (rows.window.end + nearEnd > items.length && hasNextPage && !isFetchingNextPage && !isError) void fetchNextPage()
  }, [rows.window.end, items.length, hasNextPage, isFetchingNextPage, isError, fetchNextPage])

  const move = async (i: Incident, to: 'acknowledge' | 'close') => {
    if (!can('watch') || (to === 'acknowledge' ? i.state !== 'open' : i.state === 'closed')) return
    try {
      await incidentDeed[to](i.id)
      tell.done(t(to === 'close' ? 'incidents.closed' : 'incidents.acknowledged', { title: i.title }))
      await Promise.all([client.invalidateQueries({ queryKey: ['incidents'] }), client.invalidateQueries({ queryKey: ['overview'] })])
      rows.go(Math.max(0, Math.min(rows.current, items.length - (state === 'all' ? 1 : 2))))
    } catch (error) {
      tell.failed(error)
    }
  }

  useKeys((event) => {
    if (help) return
    const target = event.target as HTMLElement
    const deed = deedOf(event, letters)
    const onRow = target.closest<HTMLElement>('[data-row]')
    const chosen = onRow ? items[Number(onRow.dataset.row)] : undefined
    const step = (n: number) => items.length > 0 && rows.go(Math.max(0, Math.min(items.length - 1, chosen ? items.indexOf(chosen) + n : rows.current)))
    if (deed === null || deed === 'close' || deed === 'suppress') return
    event.preventDefault()
    if (deed === 'next') step(1)
    else if (deed === 'previous') step(-1)
    else if (deed === 'filter') field.current?.focus()
    else if (deed === 'help') setHelp(true)
    else if (chosen) void move(chosen, deed === 'resolve' ? 'close' : 'acknowledge')
  })

  return (
    <Page title={t('incidents.title')} lead={t('incidents.lead')} actions={
      <>
        <SegmentedControl aria-label={t('incidents.state')} size="xs" value={state} onChange={(v) => change({ state: v as typeof state })}
          data={states.map((s) => ({ value: s, label: t(`incidents.filter.${s}`) }))} />
        <NativeSelect aria-label={t('incidents.severity')} size="xs" w={140} value={search.severity ?? ''} onChange={(e) => change({ severity: (e.currentTarget.value || undefined) as Severity | undefined })}
          data={[{ value: '', label: t('alerts.anySeverity') }, ...severities.toReversed().map((s) => ({ value: s as string, label: t(`severity.${s}`) }))]} />
        <NativeSelect aria-label={t('incidents.sort')} size="xs" w={150} value={sort} onChange={(e) => change({ sort: e.currentTarget.value === 'risk' ? undefined : (e.currentTarget.value as 'latest') })}
          data={incidentSorts.map((s) => ({ value: s, label: t(`incidents.sorts.${s}`) }))} />
        <Button variant="default" size="xs" onClick={() => setHelp(true)}>{t('triage.keys')}</Button>
        <Button component={Link} to="/suppressions" variant="default" size="xs">{t('incidents.suppressions')}</Button>
      </>
    }>
      {help && <Suspense><Keys of="incidents" onClose={() => setHelp(false)} letters={letters} onLetters={setLetters} /></Suspense>}
      <Narrow field={field} search={search} onChange={change} />
      <Panel title={t(`incidents.filter.${state}`)} flush
        hint={items.length > 0 && <span className="num">{t(hasNextPage ? 'incidents.shownMore' : 'incidents.shown', { count: items.length })}</span>}>
        {query.isError && <Problem error={query.error} retry={() => void (hasNextPage ? fetchNextPage() : query.refetch())} />}
        {query.isPending && <Loading rows={8} />}
        {query.isSuccess && items.length === 0 && (
          <Empty title={state === 'open' && Object.keys(narrowed).length === 0 ? t('incidents.none') : t('incidents.noneFiltered')} action={<Link to="/alerts" search={{ state: 'all' }}>{t('incidents.noneAction')}</Link>}>
            {t('incidents.noneText')}
          </Empty>
        )}
        {items.length > 0 && <IncidentList items={items} rows={rows} reading={isFetchingNextPage} />}
      </Panel>
    </Page>
  )
}

type Narrowed = { technique?: string; host?: string; severity?: Severity; since?: Since }

/** One field for every word that narrows the list, and what it is narrowed to now. */
function Narrow({ field, search, onChange }: { field: RefObject<HTMLInputElement | null>; search: Narrowed; onChange: (part: Narrowed) => void }) {
  const { t } = useTranslation()
  const [text, setText] = useState('')
  const words = { technique: search.technique && t('triage.by.technique', { of: search.technique }), host: search.host, since: search.since && t(`since.last.${search.since}`) }
  const shown = (['technique', 'host', 'since'] as const).filter((part) => words[part])
  return (
    <div className={css.bar}>
      <form role="search" onSubmit={(e) => {
        e.preventDefault()
        const { technique, severity, entity, detector } = narrowTo(text)
        onChange({ ...(technique && { technique }), ...(severity && { severity }), ...((entity ?? detector) && { host: entity ?? detector }) })
        setText('')
      }}>
        <TextInput ref={field} size="xs" aria-label={t('incidents.narrow')} placeholder={t('incidents.narrow')} leftSection={<SearchIcon size={14} />} value={text}
          onChange={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => e.key === 'Escape' && e.currentTarget.blur()} />
      </form>
      <NativeSelect aria-label={t('since.label')} size="xs" w={130} value={search.since ?? ''} onChange={(e) => onChange({ since: (e.currentTarget.value || undefined) as Since | undefined })}
        data={[{ value: '', label: t('since.ever') }, ...(Object.keys(sinceDays) as Since[]).map((s) => ({ value: s as string, label: t(`since.${s}`) }))]} />
      {shown.length > 0 && (
        <ul className={css.bar} aria-label={t('triage.filters')}>
          {shown.map((part) => (
            <li key={part}>
              <button type="button" className={css.chip} aria-label={t('triage.remove', { what: words[part] })} onClick={() => onChange({ [part]: undefined })}>
                <span className="break">{words[part]}</span><CloseIcon size={12} />
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
