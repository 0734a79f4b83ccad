import { Modal } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { MarketPlugin } from '../../../api/market'
import { number } from '../../../lib/format'
import { whatItDoes } from '../../../lib/market'
import '../../../locales/alerts'
import '../../../locales/plugins'
import { Markdown } from '../../../ui/Markdown'
import { Fact, Facts as FactList, Panel } from '../../../ui/Page'
import { Link } from '@tanstack/react-router'
import { Techniques } from '../../../ui/Techniques'
import ui from '../../../ui/ui.module.css'
import css from '../card.module.css'

/** What it does: pictures first, then the author's own words. */
export function About({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  return (
    <div className={ui.stack}>
      {p.screenshots.length > 0 && <Screenshots plugin={p} />}
      {p.model && <ModelCard plugin={p} />}
      {p.data && <DataCard plugin={p} />}
      <Panel title={t('card.does')}>
        {p.readme ? <Folded><Markdown source={whatItDoes(p.readme, t('card.does'))} /></Folded> : <p className="dim">{t('card.noReadme')}</p>}
      </Panel>
    </div>
  )
}

/** Long texts fold; a README may be as long as its author likes. */
function Folded({ children }: { children: React.ReactNode }) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const [long, setLong] = useState(false)
  return (
    <div className={css.folded} data-open={open || undefined} data-long={long || undefined}>
      <div ref={(e) => { if (e && !open) setLong(e.scrollHeight > e.clientHeight + 8) }}>{children}</div>
      {long && <button type="button" className={css.unfold} aria-expanded={open} onClick={() => setOpen(!open)}>{open ? t('card.less') : t('card.readOn')}</button>}
    </div>
  )
}

function Screenshots({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const [shown, setShown] = useState<number | null>(null)
  const shots = p.screenshots
  return (
    <Panel title={t('card.screenshots')} flush>
      <ul className={css.shots}>
        {shots.map((s, n) => (
          <li key={s.url}>
            <button type="button" onClick={() => setShown(n)} aria-label={t('card.enlarge', { what: s.alt })}>
              <img src={s.url} alt={s.alt} width={s.width} height={s.height} loading="lazy" decoding="async" />
            </button>
          </li>
        ))}
      </ul>
      <Modal opened={shown !== null} onClose={() => setShown(null)} size="xl" title={shown === null ? '' : shots[shown]!.alt} closeButtonProps={{ 'aria-label': t('close') }}>
        {shown !== null && <img className={css.shot} src={shots[shown]!.url} alt={shots[shown]!.alt} />}
      </Modal>
    </Panel>
  )
}

/** What must be known about a model before its verdicts count. */
function ModelCard({ plugin: { model: m } }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  if (!m) return null
  return (
    <Panel title={t('card.model')} hint={m.format.toUpperCase()}>
      <FactList>
        {m.features && <Fact name={t('card.features')}><span className="mono">{m.features}</span>{m.features_version ? <span className="dim"> {t('card.featuresVersion', { version: m.features_version })}</span> : null}</Fact>}
        {m.data && <Fact name={t('card.trainedOn')}>{m.data}</Fact>}
        {m.limits && <Fact name={t('card.modelLimits')}>{m.limits}</Fact>}
      </FactList>
      {m.metrics && m.metrics.length > 0 && (
        <div className={`${ui.tableWrap} ${css.inset}`} tabIndex={0} role="region" aria-label={t('card.metrics')}>
          <table className={ui.table}>
            <caption className="visually-hidden">{t('card.metrics')}</caption>
            <thead><tr><th scope="col">{t('card.metric')}</th><th scope="col" className={ui.right}>{t('card.value')}</th><th scope="col">{t('card.dataset')}</th></tr></thead>
            <tbody>
              {m.metrics.map((x, n) => <tr key={n}><td>{x.name}</td><td className={`${ui.right} num`}>{number(x.value)}</td><td className="dim">{x.dataset ?? '–'}</td></tr>)}
            </tbody>
          </table>
        </div>
      )}
      <p className={`dim ${css.note}`}>{t('card.modelText')}</p>
    </Panel>
  )
}

function DataCard({ plugin: { data: d } }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  if (!d) return null
  return (
    <Panel title={t('card.data')} hint={d.format}>
      <FactList>
        {d.source && <Fact name={t('card.source')}><OutLink to={d.source} /></Fact>}
        {d.license && <Fact name={t('card.dataLicense')}>{d.license}</Fact>}
        {d.as_of && <Fact name={t('card.asOf')}><span className="num">{d.as_of}</span></Fact>}
      </FactList>
      <p className={`dim ${css.note}`}>{t('card.dataText')}</p>
    </Panel>
  )
}

/** An address of the author's. It leads only to the web, whatever it says. */
export function OutLink({ to, children }: { to: string; children?: React.ReactNode }) {
  return /^https?:\/\//i.test(to) ? <a className="break" href={to} target="_blank" rel="noopener noreferrer">{children ?? to.replace(/^https?:\/\//i, '')}</a> : <span className="break">{children ?? to}</span>
}

export function Facts({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('card.facts')}>
      <FactList>
        <Fact name={t('plugin.id')}><span className="mono">{p.id}</span></Fact>
        <Fact name={t('plugins.kind')}>{t(`plugins.kinds.${p.kind}`, { defaultValue: p.kind })}</Fact>
        {p.runtimes && p.runtimes.length > 0 && <Fact name={t('plugin.runtimes')}>{p.runtimes.join(', ')}</Fact>}
        <Fact name={t('plugin.license')}>{p.license || '–'}</Fact>
        {p.registry && <Fact name={t('explain.registry')}>{p.registry}</Fact>}
        {p.homepage && <Fact name={t('card.homepage')}><OutLink to={p.homepage} /></Fact>}
        {p.contact && <Fact name={t('card.contact')}>{p.contact}</Fact>}
        {p.techniques && p.techniques.length > 0 && <Fact name={t('alerts.techniques')}><Techniques ids={p.techniques} /></Fact>}
        {p.metrics && p.metrics.length > 0 && <Fact name={t('card.emits')}><span className={css.words}>{p.metrics.slice(0, 12).map((m) => <code key={m}>{m}</code>)}{p.metrics.length > 12 && <span className="dim">+{p.metrics.length - 12}</span>}</span></Fact>}
        {p.tags && p.tags.length > 0 && <Fact name={t('card.tags')}><Tags tags={p.tags} /></Fact>}
      </FactList>
    </Panel>
  )
}

function Tags({ tags }: { tags: string[] }) {
  return <span className={css.words}>{tags.map((tag) => <TagLink key={tag} tag={tag} />)}</span>
}

function TagLink({ tag }: { tag: string }) {
  return <Link to="/market" search={{ tag }} className={ui.chip}>{tag}</Link>
}
