// What a search found: filters with counts, a page of results, a hint for a slip of the pen.
import { Button, Checkbox, NativeSelect, TextInput } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { pageSize, search, type Facets, type SearchAnswer } from '../../api/market'
import { count } from '../../lib/format'
import { facetEntries } from '../../lib/market'
import { activeFilters, marketKinds, sorts, tiers, withFilter, type MarketAddress, type MarketFilter, type Sort } from '../../lib/marketAddress'
import '../../locales/plugins'
import { CloseIcon } from '../../ui/icons'
import { Panel } from '../../ui/Page'
import { Empty, Loaded } from '../../ui/states'
import { HitRow } from './Hit'
import css from './market.module.css'
import { walkHits } from './SearchField'

interface Props {
  address: MarketAddress
  go: (to: MarketAddress, replace?: boolean) => void
}

export function Results({ address, go }: Props) {
  const { t } = useTranslation()
  const { page = 1, ...filter } = address
  const query = useQuery(search(filter, page))
  const wide = useMediaQuery('(min-width: 60rem)', true, { getInitialValueInEffect: false })
  const filters = <Filters address={address} go={go} facets={query.data?.facets ?? {}} />
  const chosen = activeFilters(address).length
  return (
    <div className={css.results}>
      {wide ? <aside aria-label={t('market.filters')}>{filters}</aside> : (
        <details className={css.filterFold}>
          <summary>{chosen > 0 ? t('market.filtersOn', { count: chosen }) : t('market.filters')}</summary>
          <div>{filters}</div>
        </details>
      )}
      <div className={css.found}>
        <Loaded query={query} rows={9}>{(answer) => <Found answer={answer} old={query.isPlaceholderData} address={address} page={page} go={go} />}</Loaded>
      </div>
    </div>
  )
}

function Found({ answer, old, address, page, go }: Props & { answer: SearchAnswer; old: boolean; page: number }) {
  const { t } = useTranslation()
  const items = answer.items ?? []
  const several = new Set(items.map((h) => h.registry)).size > 1
  const pages = Math.max(1, Math.ceil(answer.total / pageSize))
  return (
    <>
      <div className={css.bar}>
        <p role="status"><b>{t('market.found', { count: answer.total, n: count(answer.total) })}</b>{address.q && <> {t('market.foundFor', { q: address.q })}</>}</p>
        <NativeSelect size="xs" aria-label={t('market.sort')} value={address.sort ?? 'relevance'} data={sorts.map((s) => ({ value: s, label: t(`market.sorts.${s}`) }))}
          onChange={(e) => go(withFilter(address, { sort: e.currentTarget.value === 'relevance' ? undefined : (e.currentTarget.value as Sort) }), true)} />
      </div>
      <Active address={address} go={go} />
      {answer.did_you_mean && (
        <p className={css.hintLine}>{t('market.didYouMean')} <Link to="/market" search={withFilter(address, { q: answer.did_you_mean })}><strong>{answer.did_you_mean}</strong></Link>?</p>
      )}
      {items.length === 0
        ? <Panel title={t('market.results')} flush><Empty title={t('market.noHits')} action={activeFilters(address).length > 0 && <Button variant="default" size="xs" onClick={() => go({ q: address.q })}>{t('market.clear')}</Button>}>{t('market.noHitsText')}</Empty></Panel>
        : <ol className={css.rows} aria-label={t('market.results')} data-old={old || undefined} onKeyDown={walkHits}>{items.map((h) => <HitRow key={`${h.registry ?? ''} ${h.id}`} hit={h} named={several || h.registry !== 'own'} />)}</ol>}
      {pages > 1 && (
        <nav className={css.pager} aria-label={t('market.pages')}>
          <Button variant="default" size="xs" disabled={page <= 1} onClick={() => go(withFilter(address, { page: page - 1 }))}>{t('market.previous')}</Button>
          <span className="num">{t('market.pageOf', { page: count(page), pages: count(pages) })}</span>
          <Button variant="default" size="xs" disabled={page >= pages} onClick={() => go(withFilter(address, { page: page + 1 }))}>{t('market.next')}</Button>
        </nav>
      )}
    </>
  )
}

/** The filters that hold, each with a way out. */
function Active({ address, go }: Props) {
  const { t } = useTranslation()
  const chosen = activeFilters(address)
  if (chosen.length === 0) return null
  const value = (key: keyof MarketFilter) =>
    key === 'kind' ? t(`plugins.heads.${address.kind!}`) : key === 'tier' ? t(`market.tiers.${address.tier!}`) : key === 'installed' ? t('market.installed') : String(address[key])
  return (
    <ul className={css.active} aria-label={t('market.filters')}>
      {chosen.map((key) => (
        <li key={key}>
          <button type="button" onClick={() => go(withFilter(address, { [key]: undefined }))} aria-label={t('market.remove', { name: value(key) })}>
            <span>{key === 'installed' ? '' : <span className="dim">{t(`market.filterNames.${key as 'tag'}`)}: </span>}{value(key)}</span>
            <CloseIcon size={12} />
          </button>
        </li>
      ))}
    </ul>
  )
}

function Filters({ address, go, facets }: Props & { facets: Facets }) {
  const { t } = useTranslation()
  const choose = (change: Partial<MarketAddress>) => go(withFilter(address, change))
  return (
    <div className={css.filters}>
      <Facet title={t('market.filterNames.kind')} chosen={address.kind} label={(v) => t(`plugins.heads.${v as 'model'}`, { defaultValue: v })}
        entries={marketKinds.filter((k) => facets.kind?.[k] || k === address.kind).map((k) => [k, facets.kind?.[k] ?? 0])} onChoose={(kind) => choose({ kind: kind as MarketAddress['kind'] })} />
      <Facet title={t('market.filterNames.tier')} chosen={address.tier} label={(v) => t(`market.tiers.${v as 'gold'}`, { defaultValue: v })}
        entries={tiers.filter((k) => facets.tier?.[k] || k === address.tier).map((k) => [k, facets.tier?.[k] ?? 0])} onChoose={(tier) => choose({ tier: tier as MarketAddress['tier'] })} />
      <Facet title={t('market.filterNames.tag')} chosen={address.tag} entries={facetEntries(facets.tag, address.tag, 12)} onChoose={(tag) => choose({ tag })} />
      <Checkbox size="sm" label={t('market.onlyInstalled')} checked={address.installed ?? false} onChange={(e) => choose({ installed: e.currentTarget.checked || undefined })} />
      <Typed key={`t${address.technique ?? ''}`} label={t('market.filterNames.technique')} hint="T1046" value={address.technique} onSay={(technique) => choose({ technique })} />
      <Typed key={`p${address.publisher ?? ''}`} label={t('market.filterNames.publisher')} hint="picket" value={address.publisher} onSay={(publisher) => choose({ publisher })} />
    </div>
  )
}

interface FacetProps {
  title: string
  entries: [string, number][]
  chosen?: string
  label?: (value: string) => string
  onChoose: (value: string | undefined) => void
}

function Facet({ title, entries, chosen, label = (v) => v, onChoose }: FacetProps) {
  if (entries.length === 0) return null
  return (
    <section className={css.facet} aria-label={title}>
      <h2>{title}</h2>
      <ul>
        {entries.map(([value, n]) => (
          <li key={value}>
            <button type="button" aria-pressed={value === chosen} onClick={() => onChoose(value === chosen ? undefined : value)}>
              <span className={css.v}>{label(value)}</span>
              <span className={css.n}>{count(n)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** A filter with more values than a list could hold. */
function Typed({ label, hint, value, onSay }: { label: string; hint: string; value?: string; onSay: (value: string | undefined) => void }) {
  const [text, setText] = useState(value ?? '')
  const say = (event: FormEvent) => {
    event.preventDefault()
    if (text.trim() !== (value ?? '')) onSay(text.trim() || undefined)
  }
  return <form onSubmit={say}><TextInput size="xs" label={label} placeholder={hint} value={text} spellCheck={false} autoComplete="off" onChange={(e) => setText(e.currentTarget.value)} onBlur={say} /></form>
}
