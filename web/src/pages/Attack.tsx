// The ATT&CK matrix of this server: what alerts name, and what enabled detectors watch for.
import { SegmentedControl, Switch } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useEffect, useId, useMemo, useRef } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins, pluginPath, sinceDays, techniqueCounts, type Since } from '../api/queries'
import { useMay } from '../api/useMay'
import { matrixOf, totals, type Cell, type Column } from '../lib/matrix'
import { domains, domainOf, ownName, parentOf, techniqueLink } from '../lib/techniques'
import '../locales/alerts'
import { OutIcon } from '../ui/icons'
import { SeverityMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Loaded } from '../ui/states'
import css from './attack.module.css'

const sinces = [...(Object.keys(sinceDays) as Since[]), 'ever'] as const

export function AttackPage() {
  const { t } = useTranslation()
  const search = useSearch({ from: '/inside/attack' })
  const navigate = useNavigate({ from: '/attack' })
  const domain = search.domain ?? (search.technique ? domainOf(search.technique) : 'enterprise')
  const since = search.since ?? 'month'
  const all = search.all ?? false
  const counts = useQuery(techniqueCounts(since === 'ever' ? undefined : since))
  const can = useMay()
  const { data: installed } = useInfiniteQuery({ ...plugins, enabled: can('plugins:read') })
  const columns = useMemo(() => matrixOf(domain, counts.data?.items ?? [], installed ?? [], all), [domain, counts.data, installed, all])
  const { named, watched } = totals(columns)
  const change = (part: Partial<typeof search>) => void navigate({ search: { ...search, ...part }, replace: true, resetScroll: false })
  return (
    <Page title={t('matrix.title')} lead={t('matrix.lead')} actions={
      <>
        <SegmentedControl aria-label={t('matrix.domain')} size="xs" value={domain} onChange={(d) => change({ domain: d as typeof domain, technique: undefined })}
          data={domains.map((d) => ({ value: d, label: t(`matrix.domains.${d}`) }))} />
        <SegmentedControl aria-label={t('since.label')} size="xs" value={since} onChange={(s) => change({ since: s as typeof since })}
          data={sinces.map((s) => ({ value: s, label: t(`since.${s}`) }))} />
        <Switch size="xs" checked={all} onChange={(e) => change({ all: e.currentTarget.checked || undefined })} label={t('matrix.all')} />
      </>
    }>
      <Panel title={t(`matrix.domains.${domain}`)} hint={<span className="num">{t('matrix.named', { count: named })}, {t('matrix.watched', { count: watched })}</span>}>
        <Loaded query={counts} rows={8}>
          {() => (
            <div className={css.matrix}>
              {columns.map((c) => <Tactic key={c.tactic?.id ?? ''} column={c} since={since === 'ever' ? undefined : since} wanted={search.technique} />)}
            </div>
          )}
        </Loaded>
        <p className={css.small}>{t('matrix.legend')}</p>
        <p className={css.small}>{t('matrix.notice')}</p>
      </Panel>
    </Page>
  )
}

interface Shared {
  since: Since | undefined
  wanted: string | undefined
}

function Tactic({ column: { tactic, cells }, ...shared }: { column: Column } & Shared) {
  const { t } = useTranslation()
  const id = useId()
  return (
    <section className={css.tactic} aria-labelledby={id}>
      <h3 id={id}>{tactic?.name ?? t('matrix.unknown')}</h3>
      {cells.length === 0 ? <p className={css.small}>{t('matrix.nothing')}</p> : <ul>{cells.map((c) => <Technique key={c.id} cell={c} {...shared} />)}</ul>}
    </section>
  )
}

function Technique({ cell: c, ...shared }: { cell: Cell } & Shared) {
  const { t } = useTranslation()
  const { since, wanted } = shared
  const place = useRef<HTMLLIElement>(null)
  const here = wanted === c.id
  useEffect(() => {
    if (here) place.current?.scrollIntoView({ block: 'center' })
  }, [here])
  const link = techniqueLink(c.id)
  const below = parentOf(c.id) !== c.id
  return (
    <li ref={place} className={css.cell} data-watched={c.watchers.length > 0 || undefined} data-severity={c.worst} data-wanted={here || undefined}>
      <div className={css.head}>
        <span className={css.name}>
          <span className="mono">{below ? c.id.slice(5) : c.id}</span> <span className="break">{ownName(c.id)}</span>
        </span>
        {link && (
          <a href={link} target="_blank" rel="noopener noreferrer" className={css.out} aria-label={t('matrix.describe', { id: c.id })} title={t('matrix.describe', { id: c.id })}><OutIcon size={12} /></a>
        )}
      </div>
      {c.alerts > 0 && (
        <span className={css.found}>
          <Link to="/alerts" search={{ state: 'all', technique: c.id, since }} className="num" aria-label={`${c.id} ${ownName(c.id) ?? ''}: ${t('matrix.alerts', { count: c.alerts })}`}>{t('matrix.alerts', { count: c.alerts })}</Link>
          {c.worst && <SeverityMark severity={c.worst} />}
          {c.incidents > 0 && (
            <Link to="/incidents" search={{ state: 'all', technique: c.id, since }} className="num" aria-label={`${c.id} ${ownName(c.id) ?? ''}: ${t('matrix.incidents', { count: c.incidents })}`}>{t('matrix.incidents', { count: c.incidents })}</Link>
          )}
        </span>
      )}
      {!below && <Watchers of={c} />}
      {c.below.length > 0 && <ul aria-label={t('matrix.below')}>{c.below.map((b) => <Technique key={b.id} cell={b} {...shared} />)}</ul>}
    </li>
  )
}

function Watchers({ of: { watchers } }: { of: Cell }) {
  const { t } = useTranslation()
  if (watchers.length === 0) return <span className={css.small}>{t('matrix.unwatched')}</span>
  return (
    <span className={css.small}>
      {t('matrix.watchedBy')}{' '}
      {watchers.map((w, i) => (
        <span key={w.id}>{i > 0 && ', '}<Link to="/plugins/$ns/$name" params={pluginPath(w.id)} preload={false}>{w.title}</Link></span>
      ))}
    </span>
  )
}
