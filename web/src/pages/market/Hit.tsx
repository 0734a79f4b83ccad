// One plugin in a list: as a tile, as a result row, as a line.
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Hit } from '../../api/market'
import { pluginPath } from '../../api/queries'
import { count } from '../../lib/format'
import { namespaceOf, updateOf } from '../../lib/market'
import '../../locales/market'
import '../../locales/plugins'
import { DeviceIcon } from '../../ui/icons'
import { KindBadge, Stars, TierMark } from '../../ui/kinds'
import { StateMark } from '../../ui/marks'
import { Ago } from '../../ui/Time'
import css from './market.module.css'

export function HitLink({ hit: h }: { hit: Hit }) {
  return <Link to="/market/$ns/$name" params={pluginPath(h.id)} className={css.name} data-hit="">{h.title || h.id}</Link>
}

/** What matters most about its state: withdrawn, here already, or an update. */
export function HereMark({ hit: h, brief }: { hit: Hit; brief?: boolean }) {
  const { t } = useTranslation()
  const update = updateOf(h)
  if (h.revoked) return <StateMark tone="bad">{t('market.revoked')}</StateMark>
  if (h.yanked) return <StateMark tone="warn">{t('market.yanked')}</StateMark>
  if (update) return <StateMark tone="busy">{brief ? t('market.update') : t('market.updateTo', { version: update })}</StateMark>
  if (h.installed) return <StateMark tone="good">{t('market.installed')}</StateMark>
  return null
}

export function Tile({ hit: h, because }: { hit: Hit; because?: string }) {
  const { t } = useTranslation()
  return (
    <article className={css.tile}>
      {because && <p className={css.because}><DeviceIcon size={16} />{because}</p>}
      <div className={css.tileHead}>
        <KindBadge kind={h.kind} />
        <div>
          <h3><HitLink hit={h} /></h3>
          <p className={css.by}>{namespaceOf(h.id)} · {t(`plugins.kinds.${h.kind}`, { defaultValue: h.kind })}</p>
        </div>
      </div>
      <p className={css.summary}>{h.summary}</p>
      <p className={css.figures}>
        <TierMark tier={h.tier} />
        {h.rating?.count > 0 ? <Stars rating={h.rating} brief /> : <Installs hit={h} />}
        <span className={css.push}><HereMark hit={h} brief /></span>
      </p>
    </article>
  )
}

function Installs({ hit: h }: { hit: Hit }) {
  const { t } = useTranslation()
  if (h.installs === 0) return null
  return <span className="num dim">{t('market.installs', { count: h.installs, n: count(h.installs) })}</span>
}

export function HitRow({ hit: h, named }: { hit: Hit; /** Says which registry it is from. */ named: boolean }) {
  const { t } = useTranslation()
  return (
    <li className={css.hit}>
      <span className={css.badgeCell}><KindBadge kind={h.kind} /></span>
      <div className={css.hitTitle}>
        <HitLink hit={h} />
        <span className={`${css.by} mono`}>{h.id}</span>
      </div>
      <span className={css.hitTier}><TierMark tier={h.tier} /></span>
      <p className={css.summary}>{h.summary}</p>
      <p className={css.figures}>
        <HereMark hit={h} />
        <span className="dim">{t(`plugins.kinds.${h.kind}`, { defaultValue: h.kind })}</span>
        <span className="num dim">{h.version}</span>
        <Installs hit={h} />
        <Stars rating={h.rating} words={false} />
        <span className="dim"><Ago at={h.published} /></span>
        {named && h.registry && <span className="dim">{t('market.from', { registry: h.registry })}</span>}
      </p>
    </li>
  )
}

/** The shortest form, for "new" and "updated". */
export function HitLine({ hit: h }: { hit: Hit }) {
  return (
    <li>
      <KindBadge kind={h.kind} />
      <div>
        <h3><HitLink hit={h} /></h3>
        <p className={css.summary}>{h.summary}</p>
      </div>
      <span className={css.end}>
        <span className="num">{h.version}</span>
        <span className="dim"><Ago at={h.published} /></span>
      </span>
    </li>
  )
}
