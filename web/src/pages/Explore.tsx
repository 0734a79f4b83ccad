// Ask anything of what was measured: queries in PromQL, drawn and listed. What is asked stands in the address.
import '../locales/operate'
import { ActionIcon, Button, NativeSelect, SegmentedControl } from '@mantine/core'
import { useQueries } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { lazy, Suspense, useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { mostSeries, queryRange, type RangeAnswer } from '../api/operate'
import { ApiError } from '../api/http'
import { useMay } from '../api/useMay'
import { download } from '../lib/download'
import { count, number } from '../lib/format'
import { commonLabels, csvOf, markedPlace, nameOf, placeOf, secondsOf, shortNameOf, stepSeconds } from '../lib/promql'
import { latest } from '../lib/series'
import { CloseIcon, PlusIcon, RefreshIcon } from '../ui/icons'
import { Page, Panel } from '../ui/Page'
import { Empty, Loading, Problem } from '../ui/states'
import ui from '../ui/ui.module.css'
import { Builder } from './explore/Builder'
import { Chart, type Drawn } from './explore/Chart'
import css from './explore/explore.module.css'

const Editor = lazy(() => import('./explore/Editor').then((m) => ({ default: m.Editor })))
const here = getRouteApi('/inside/explore')

const ranges = ['15m', '1h', '6h', '24h', '7d', '30d'] as const
const earlier = ['1h', '1d', '1w', '4w'] as const
const colors = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6']
const mostQueries = 6
const firstRows = 100

export function ExploreTabs() {
  const { t } = useTranslation()
  const can = useMay()
  return (
    <nav className={css.tabs} aria-label={t('explore.title')}>
      <Link to="/explore" activeOptions={{ exact: true, includeSearch: false }} activeProps={{ 'aria-current': 'page' }}>PromQL</Link>
      {can('settings:admin') && <Link to="/explore/sql" activeProps={{ 'aria-current': 'page' }}>SQL</Link>}
    </nav>
  )
}

interface Line extends Drawn {
  name: string
  metric: Record<string, string>
}

export function ExplorePage() {
  const { t } = useTranslation()
  const search = here.useSearch()
  const navigate = here.useNavigate()
  const asked = search.q ?? []
  const [texts, setTexts] = useState<string[]>(asked.length > 0 ? asked : [''])
  const [asking, setAsking] = useState(asked)
  if (asking !== asked && asking.join('\n') !== asked.join('\n')) { // somebody went back, or followed a link
    setAsking(asked)
    setTexts(asked.length > 0 ? asked : [''])
  }
  const [building, setBuilding] = useState<boolean>(false)
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const [all, setAll] = useState(false)
  const [now, setNow] = useState(() => Date.now())

  const range = search.r ?? '1h'
  const to = search.to ?? now
  const from = search.from ?? to - (secondsOf(range) ?? 3600) * 1000
  const step = stepSeconds(from, to)
  const shift = search.compare ? (secondsOf(search.compare) ?? 0) * 1000 : 0
  const go = (part: Partial<typeof search>) => void navigate({ search: (old) => ({ ...old, ...part }) })
  const run = (list = texts) => {
    const wanted = list.map((q) => q.trim()).filter((q) => q !== '')
    setNow(Date.now())
    go({ q: wanted })
  }

  const wishes = asked.flatMap((query, i) => [{ query, i, shift: 0 }, ...(shift > 0 ? [{ query, i, shift }] : [])])
  const results = useQueries({
    queries: wishes.map((w) => ({
      queryKey: ['explore', w.query, from, to, step, w.shift],
      queryFn: ({ signal }: { signal: AbortSignal }) => queryRange(w.query, from - w.shift, to - w.shift, step, signal),
      retry: false,
      staleTime: 60_000,
    })),
    combine: (list) => ({ data: list.map((r) => r.data), errors: list.map((r) => r.error), busy: list.some((r) => r.isFetching) }),
  })
  const { lines, cut } = useMemo(() => drawn(wishes, results.data), [results.data]) // eslint-disable-line react-hooks/exhaustive-deps -- the answers change with what was asked
  const notes = [...new Set(results.data.flatMap((d) => d?.notes ?? []))]
  const common = useMemo(() => commonLabels(lines.map((l) => l.metric)), [lines])
  const visible = lines.filter((l) => !hidden.has(l.key))

  const zoom = (a: number, b: number) => go({ from: Math.round(a), to: Math.round(b) })
  const move = (part: number) => zoom(from + (to - from) * part, to + (to - from) * part)
  const wider = () => zoom(from - (to - from) / 2, to + (to - from) / 2)
  const save = (kind: 'csv' | 'json') => {
    if (kind === 'json') download('picket-explore.json', 'application/json', JSON.stringify({ from: new Date(from), to: new Date(to), step_seconds: step, series: lines.map((l) => ({ name: l.name, labels: l.metric, earlier: l.earlier ?? false, points: l.points })) }))
    else download('picket-explore.csv', 'text/csv', csvOf(['series', 'time', 'value'], lines.flatMap((l) => l.points.map(([at, v]) => [l.name, new Date(at).toISOString(), v]))))
  }
  return (
    <Page title={t('explore.title')} lead={t('explore.lead')}>
      <ExploreTabs />
      <Panel title={t('explore.queries')}>
        <div className={css.queries}>
          {texts.map((text, i) => {
            const at = asked.indexOf(text.trim())
            const error = at < 0 ? null : results.errors[wishes.findIndex((w) => w.i === at && w.shift === 0)]
            return (
              <div key={i}>
                <div className={css.query}>
                  <Suspense fallback={<Loading rows={1} />}>
                    <Editor value={text} label={t('explore.query', { n: i + 1 })} hint={t('explore.hint')} onChange={(value) => setTexts((old) => old.map((q, n) => (n === i ? value : q)))} onRun={() => run()} />
                  </Suspense>
                  {texts.length > 1 && (
                    <ActionIcon variant="subtle" color="gray" size="xl" aria-label={t('explore.drop', { n: i + 1 })} onClick={() => {
                      const rest = texts.filter((_, n) => n !== i)
                      setTexts(rest)
                      run(rest)
                    }}><CloseIcon /></ActionIcon>
                  )}
                </div>
                {error && <QueryProblem query={text} error={error} />}
              </div>
            )
          })}
        </div>
        <div className={css.buttons}>
          <Button loading={results.busy} onClick={() => run()}>{t('explore.run')}</Button>
          <Button variant="default" leftSection={<PlusIcon />} disabled={texts.length >= mostQueries} onClick={() => setTexts([...texts, ''])}>{t('explore.add')}</Button>
          <Button variant="default" aria-expanded={building} onClick={() => setBuilding(!building)}>{t('explore.build')}</Button>
        </div>
        {building && <Builder onUse={(query) => {
          const list = texts.at(-1)?.trim() === '' ? [...texts.slice(0, -1), query] : texts.length < mostQueries ? [...texts, query] : [...texts.slice(0, -1), query]
          setTexts(list)
          run(list)
        }} />}
      </Panel>
      <Panel title={t('explore.result')} hint={results.busy ? t('explore.asking') : lines.length > 0 ? t('explore.found', { count: lines.length, step }) : undefined}>
        <div className={css.bar}>
          <SegmentedControl aria-label={t('explore.range')} size="sm" value={search.from === undefined ? range : ''} onChange={(r) => { setNow(Date.now()); go({ r, from: undefined, to: undefined }) }} data={[...ranges]} />
          <NativeSelect aria-label={t('explore.compare')} value={search.compare ?? ''} onChange={(e) => go({ compare: e.currentTarget.value || undefined })} data={[{ value: '', label: t('explore.noCompare') }, ...earlier.map((e) => ({ value: e, label: t(`explore.earlier.${e}`) }))]} />
          <Button variant="default" onClick={() => move(-0.5)}>{t('explore.back')}</Button>
          <Button variant="default" onClick={() => move(0.5)}>{t('explore.forward')}</Button>
          <Button variant="default" onClick={wider}>{t('explore.wider')}</Button>
          <Button variant="default" onClick={() => zoom(from + (to - from) / 4, to - (to - from) / 4)}>{t('explore.closer')}</Button>
          <ActionIcon variant="default" size="lg" aria-label={t('explore.again')} onClick={() => { setNow(Date.now()); go({ from: undefined, to: undefined }) }}><RefreshIcon /></ActionIcon>
        </div>
        {(notes.length > 0 || cut) && <ul className={css.notes}>{cut && <li>{t('explore.cut', { most: mostSeries })}</li>}{notes.map((n) => <li key={n}>{n}</li>)}</ul>}
        {asked.length === 0 ? <Empty title={t('explore.nothingYet')}>{t('explore.nothingYetText')}</Empty>
          : lines.length === 0 && !results.busy && results.errors.every((e) => e === null) ? <Empty title={t('explore.none')}>{t('explore.noneText')}</Empty>
          : <Chart lines={visible} from={from} to={to} onZoom={zoom} />}
      </Panel>
      {lines.length > 0 && (
        <Panel title={t('explore.series')} flush hint={t('explore.seriesHint')} actions={
          <span className={css.buttons}>
            <Button size="xs" variant="default" onClick={() => save('csv')}>CSV</Button>
            <Button size="xs" variant="default" onClick={() => save('json')}>JSON</Button>
            <Button size="xs" variant="default" onClick={() => setHidden(hidden.size > 0 ? new Set() : new Set(lines.map((l) => l.key)))}>{hidden.size > 0 ? t('explore.showAll') : t('explore.hideAll')}</Button>
          </span>
        }>
          {Object.keys(common).length > 0 && <p className={css.common}>{t('explore.common')} <span className="mono">{nameOf(common)}</span></p>}
          <div className={css.legend} tabIndex={0} role="group" aria-label={t('explore.series')}>
            <table className={ui.table}>
              <caption className="visually-hidden">{t('explore.series')}</caption>
              <thead><tr><th scope="col">{t('explore.seriesName')}</th><th scope="col" className={ui.right}>{t('explore.last')}</th><th scope="col" className={`${ui.right} ${ui.medium}`}>{t('explore.least')}</th><th scope="col" className={`${ui.right} ${ui.medium}`}>{t('explore.most')}</th></tr></thead>
              <tbody>
                {lines.slice(0, all ? undefined : firstRows).map((l) => {
                  const values = l.points.flatMap(([, v]) => (v === null ? [] : [v]))
                  const end = latest(l.points)
                  const short = shortNameOf(l.metric, common)
                  return (
                    <tr key={l.key}>
                      <td><button type="button" className={css.show} aria-pressed={!hidden.has(l.key)} onClick={() => setHidden((old) => toggled(old, l.key))}><i data-color={l.color} aria-hidden="true" /><span>{short === '{}' ? l.name : short}{l.earlier && ` · ${t('explore.before')}`}</span></button></td>
                      <td className={`${ui.right} num`}>{end ? number(end[1]) : '–'}</td>
                      <td className={`${ui.right} ${ui.medium} num`}>{values.length > 0 ? number(values.reduce((a, b) => Math.min(a, b))) : '–'}</td>
                      <td className={`${ui.right} ${ui.medium} num`}>{values.length > 0 ? number(values.reduce((a, b) => Math.max(a, b))) : '–'}</td>
                    </tr>
                  )
                })}
              </tbody>
            </table>
            {!all && lines.length > firstRows && <div className={ui.more}><Button variant="default" size="xs" onClick={() => setAll(true)}>{t('explore.rest', { n: count(lines.length - firstRows) })}</Button></div>}
          </div>
        </Panel>
      )}
    </Page>
  )
}

function toggled(old: ReadonlySet<string>, key: string): ReadonlySet<string> {
  const next = new Set(old)
  if (!next.delete(key)) next.add(key)
  return next
}

function drawn(wishes: { query: string; i: number; shift: number }[], answers: (RangeAnswer | undefined)[]): { lines: Line[]; cut: boolean } {
  const lines: Line[] = []
  let cut = false
  wishes.forEach((w, n) => {
    const found = answers[n]?.lines ?? []
    cut ||= found.length >= mostSeries || lines.length + found.length > mostSeries
    found.slice(0, Math.max(0, mostSeries - lines.length)).forEach((l, at) => {
      const name = nameOf(l.metric)
      lines.push({
        key: `${w.i} ${w.shift} ${name}`, name: name === '{}' ? w.query : name, metric: l.metric, color: colors[(w.i + at) % colors.length]!,
        points: w.shift > 0 ? l.points.map(([t, v]) => [t + w.shift, v]) : l.points, ...(w.shift > 0 ? { earlier: true } : {}),
      })
    })
  })
  return { lines, cut }
}

function QueryProblem({ query, error }: { query: string; error: unknown }) {
  const { t } = useTranslation()
  const place = error instanceof ApiError ? placeOf(error.detail) : null
  if (!place) return <Problem error={error} />
  return (
    <div className={ui.error} role="alert">
      <strong>{t('explore.wrong', { line: place.line, column: place.column })}</strong>
      <span className="break">{place.text}</span>
      <pre className={css.place} tabIndex={0}>{markedPlace(query, place.line, place.column)}</pre>
    </div>
  )
}
