import { useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { publisher, type Publisher } from '../../api/market'
import '../../locales/market'
import { LoadedPage } from '../../ui/LoadedPage'
import { StateMark } from '../../ui/marks'
import { Fact, Facts, Page, Panel } from '../../ui/Page'
import { Empty } from '../../ui/states'
import { Time } from '../../ui/Time'
import { Tile } from './Hit'
import css from './market.module.css'

/** Who publishes under a name, and who says that the name is theirs. */
export function PublisherPage() {
  const { t } = useTranslation()
  const { ns } = useParams({ from: '/inside/publishers/$ns' })
  const query = useQuery(publisher(ns))
  return (
    <LoadedPage query={query} title={ns} back={{ to: '/market', label: t('market.title') }}>
      {(p) => <Detail publisher={p} />}
    </LoadedPage>
  )
}

function Detail({ publisher: p }: { publisher: Publisher }) {
  const { t } = useTranslation()
  const via = p.via as 'official'
  return (
    <Page title={p.namespace} back={{ to: '/market', label: t('market.title') }} lead={t(`publisher.via.${via}`, { defaultValue: '' })}>
      <Panel title={t('publisher.who')} hint={<StateMark tone={p.via === 'recent' ? 'warn' : 'good'}>{t(`trustChain.via.${via}`, { defaultValue: p.via })}</StateMark>}>
        <Facts>
          {p.contact && <Fact name={t('card.contact')}>{p.contact}</Fact>}
          <Fact name={t('publisher.keys')}>
            {p.keys.length === 0 ? '–' : <ul className={css.keys}>{p.keys.map((k) => <li key={k.id}><code className="break">{k.id}</code> {k.since && <span className="dim">{t('publisher.since')} <Time at={k.since} /></span>}</li>)}</ul>}
          </Fact>
        </Facts>
      </Panel>
      <section className={css.section} aria-label={t('publisher.offers')}>
        <header><h2>{t('publisher.offers')}</h2></header>
        {p.plugins.length === 0
          ? <Panel title={t('publisher.offers')} flush><Empty title={t('publisher.nothing')} /></Panel>
          : <ul className={css.tiles}>{p.plugins.map((h) => <li key={h.id}><Tile hit={h} /></li>)}</ul>}
      </section>
    </Page>
  )
}
