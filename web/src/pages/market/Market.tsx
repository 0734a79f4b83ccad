// The marketplace: a front page to browse, and results as soon as somebody searches. The address holds the whole state.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useDeferredValue } from 'react'
import { useTranslation } from 'react-i18next'
import { front, type FrontAnswer, type Hit } from '../../api/market'
import { useMay } from '../../api/useMay'
import { count } from '../../lib/format'
import { isSearch, withFilter, type MarketAddress } from '../../lib/marketAddress'
import '../../locales/market'
import '../../locales/plugins'
import { KindGlyph } from '../../ui/kinds'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded } from '../../ui/states'
import { HitLine, Tile } from './Hit'
import css from './market.module.css'
import { Results } from './Results'
import { SearchField } from './SearchField'

export function MarketPage() {
  const { t } = useTranslation()
  const can = useMay()
  const address = useSearch({ from: '/inside/market' })
  const navigate = useNavigate({ from: '/market' })
  const go = (to: MarketAddress, replace = false) => void navigate({ to: '/market', search: to, replace, resetScroll: !replace })
  const searching = isSearch(address)
  return (
    <Page
      title={address.kind && !address.q ? t(`plugins.heads.${address.kind}`) : searching ? t('market.searching') : t('market.title')}
      tab={address.q ? t('market.tabSearch', { q: address.q }) : undefined}
      lead={address.kind && !address.q ? t(`market.leads.${address.kind}`) : searching ? undefined : t('market.lead')}
      back={searching ? { to: '/market', label: t('market.title') } : undefined}
      actions={!searching && can('operate') && <Button component={Link} to="/market/publish" variant="default">{t('market.publish')}</Button>}
    >
      <SearchField value={address.q ?? ''} onSearch={(q) => go(withFilter(address, { q }), true)} />
      {searching ? <Results address={address} go={go} /> : <Front />}
    </Page>
  )
}

function Front() {
  const query = useQuery(front)
  return <Loaded query={query} rows={8}>{(answer) => <FrontSections front={answer} />}</Loaded>
}

function FrontSections({ front: f }: { front: FrontAnswer }) {
  const { t } = useTranslation()
  const below = useDeferredValue(true, false) // drawn once what is above it stands
  const recommended = (f.recommended ?? []).slice(0, 6)
  const popular = (f.popular ?? []).filter((h) => !recommended.some((r) => r.plugin.id === h.id)).slice(0, 6)
  // A young registry is new as a whole: what stands above is not said again.
  const fresh = (f.new ?? []).filter((h) => ![...recommended.map((r) => r.plugin), ...popular].some((o) => o.id === h.id))
  const total = (f.kinds ?? []).reduce((sum, k) => sum + k.count, 0)
  if (total === 0) return <Panel title={t('market.title')} flush><Empty title={t('market.nothing')}>{t('market.nothingText')}</Empty></Panel>
  return (
    <>
      <nav aria-label={t('market.byKind')}>
        <ul className={css.kinds}>
          {f.kinds.map(({ kind, count: n }) => (
            <li key={kind}>
              <Link to="/market" search={{ kind }}>
                <span className={css.head}><KindGlyph kind={kind} />{t(`plugins.heads.${kind}`, { defaultValue: kind })}</span>
                <b>{count(n)}</b>
                <small>{t(`plugins.does.${kind}`, { defaultValue: '' })}</small>
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      {recommended.length > 0 && (
        <Section title={t('market.recommended')} text={t('market.recommendedText')}>
          <ul className={css.tiles}>{recommended.map((r) => <li key={r.plugin.id}><Tile hit={r.plugin} because={r.because} /></li>)}</ul>
        </Section>
      )}
      {popular.length > 0 && (
        <Section title={t('market.popular')} text={t('market.popularText')} more={{ sort: 'installs' }}>
          <ul className={css.tiles}>{popular.map((h) => <li key={h.id}><Tile hit={h} /></li>)}</ul>
        </Section>
      )}
      {below && (
        <div className={css.pair}>
          <Lines title={t('market.new')} items={fresh} more={{ sort: 'new' }} />
          <Lines title={t('market.updated')} items={f.updated} />
        </div>
      )}
    </>
  )
}

function Section({ title, text, more, children }: { title: string; text?: string; more?: MarketAddress; children: React.ReactNode }) {
  const { t } = useTranslation()
  return (
    <section className={css.section} aria-label={title}>
      <header>
        <h2>{title}</h2>
        {text && <p>{text}</p>}
        {more && <Link to="/market" search={more} aria-label={t('market.allOf', { title })}>{t('market.all')}</Link>}
      </header>
      {children}
    </section>
  )
}

function Lines({ title, items, more }: { title: string; items: Hit[] | null; more?: MarketAddress }) {
  const { t } = useTranslation()
  if (!items || items.length === 0) return null
  return (
    <Panel title={title} actions={more && <Link to="/market" search={more} aria-label={t('market.allOf', { title })}>{t('market.all')}</Link>} flush>
      <ul className={css.compact}>{items.slice(0, 6).map((h) => <HitLine key={h.id} hit={h} />)}</ul>
    </Panel>
  )
}
