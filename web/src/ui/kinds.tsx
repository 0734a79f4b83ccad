// Marks of the marketplace: what kind of thing it is, how well it was checked, what people think of it.
import { useTranslation } from 'react-i18next'
import type { Rating } from '../api/market'
import type { MarketKind, Tier } from '../lib/marketAddress'
import '../locales/market'
import css from './kinds.module.css'

const glyphs: Record<MarketKind, React.ReactNode> = {
  collector: <path d="M3.500 14a6.500 6.500 0 1 1 13 0M10 14l3.500-4.500M6 16.500h8" />,
  discovery: <><circle cx="9" cy="9" r="5.500" /><path d="m13.200 13.200 3.800 3.800M9 6.500v5M6.500 9h5" /></>,
  detector: <><path d="M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5z" /><circle cx="10" cy="10" r="2.200" /></>,
  notifier: <><path d="M5 13.500V9a5 5 0 0 1 10 0v4.500l1.500 1.500h-13z" /><path d="M8.500 17.500h3" /></>,
  model: <><circle cx="4.500" cy="6" r="1.700" /><circle cx="4.500" cy="14" r="1.700" /><circle cx="15.500" cy="10" r="1.700" /><circle cx="10" cy="4" r="1.700" /><circle cx="10" cy="16" r="1.700" /><path d="m6 6.500 8 3M6 13.500l8-3M11 5.500l3.500 3M11 14.500l3.500-3" /></>,
  data: <><ellipse cx="10" cy="5" rx="6" ry="2.300" /><path d="M4 5v10c0 1.300 2.700 2.300 6 2.300s6-1 6-2.300V5M4 10c0 1.300 2.700 2.300 6 2.300s6-1 6-2.300" /></>,
}

/** The kind of a plugin as a picture; the word stands beside it. */
export function KindGlyph({ kind, size = 18 }: { kind: MarketKind; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.500" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      {glyphs[kind] ?? <circle cx="10" cy="10" r="6" />}
    </svg>
  )
}

export function KindBadge({ kind, large }: { kind: MarketKind; large?: boolean }) {
  return <span className={css.badge} data-kind={kind} data-large={large || undefined}><KindGlyph kind={kind} size={large ? 26 : 20} /></span>
}

const filled: Record<Tier, number> = { gold: 3, silver: 2, bronze: 1, none: 0 }

/** How far a release was checked: three pickets, as many filled as its tier. */
export function TierMark({ tier }: { tier: string | undefined }) {
  const { t } = useTranslation()
  const known = (tier || undefined) as Tier | undefined
  if (!known) return <span className={css.tier} data-tier="unknown"><Pickets filled={0} />{t('market.tiers.unknown')}</span>
  return <span className={css.tier} data-tier={known} title={t(`market.tierMeans.${known}`)}><Pickets filled={filled[known] ?? 0} />{t(`market.tiers.${known}`, { defaultValue: known })}</span>
}

function Pickets({ filled: n }: { filled: number }) {
  return (
    <svg width="15" height="13" viewBox="0 0 15 13" aria-hidden="true" focusable="false">
      {[0, 1, 2].map((i) => <path key={i} className={i < n ? css.on : css.off} d={`M${i * 5 + 0.500} 12.500V4l1.750-2.500L${i * 5 + 4} 4v8.500z`} />)}
    </svg>
  )
}

/** The mean of the ratings in stars, with the number in words. */
export function Stars({ rating, words = true, brief }: { rating: Rating | undefined; words?: boolean; /** One star instead of five. */ brief?: boolean }) {
  const { t } = useTranslation()
  if (!rating || rating.count === 0) return words ? <span className="dim">{t('market.unrated')}</span> : null
  return (
    <span className={css.stars}>
      {brief ? <span className={css.one}><Star /></span> : <StarRow value={rating.stars} />}
      <span className="num"><span className="visually-hidden">{t('market.starsOf', { stars: rating.stars.toFixed(1) })}</span><span aria-hidden="true">{rating.stars.toFixed(1)}</span> <span className="dim">({rating.count.toLocaleString('en')})</span></span>
    </span>
  )
}

const star = 'M7 .8l1.900 4 4.300.600-3.100 3 .8 4.300L7 10.700l-3.900 2 .8-4.300-3.100-3 4.300-.600z'

/** Five stars, filled up to a value that need not be whole. */
export function StarRow({ value }: { value: number }) {
  return (
    <span className={css.starRow} aria-hidden="true">
      <span className={css.starsOff}>{[0, 1, 2, 3, 4].map((i) => <Star key={i} />)}</span>
      <span className={css.starsOn} style={{ width: `${Math.max(0, Math.min(5, value)) * 20}%` }}>{[0, 1, 2, 3, 4].map((i) => <Star key={i} />)}</span>
    </span>
  )
}

function Star() {
  return <svg width="14" height="14" viewBox="0 0 14 14" fill="currentColor" focusable="false"><path d={star} /></svg>
}

/** Stars to give: five radio buttons, so that the keyboard and a screen reader know them already. */
export function StarInput({ value, onChange, label }: { value: number; onChange: (stars: number) => void; label: string }) {
  const { t } = useTranslation()
  return (
    <fieldset className={css.starInput}>
      <legend>{label}</legend>
      {[1, 2, 3, 4, 5].map((n) => (
        <label key={n} data-on={n <= value || undefined}>
          <input type="radio" name="stars" className="visually-hidden" value={n} checked={n === value} onChange={() => onChange(n)} />
          <Star />
          <span className="visually-hidden">{t('market.starCount', { count: n })}</span>
        </label>
      ))}
    </fieldset>
  )
}
