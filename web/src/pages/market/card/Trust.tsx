// Why a node would accept this release, drawn from the root down.
import { useTranslation } from 'react-i18next'
import type { ChainLink, MarketPlugin, TrustReport } from '../../../api/market'
import { short } from '../../../lib/market'
import '../../../locales/plugins'
import { StateMark, type Tone } from '../../../ui/marks'
import { Panel } from '../../../ui/Page'
import { Time, useNow } from '../../../ui/Time'
import css from '../card.module.css'

export function Trust({ trust: c, plugin: p }: { trust: TrustReport; plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const release = p.releases.find((r) => r.version === p.version)
  if (p.unverified || c.chain.length === 0) {
    return <Panel title={t('trustChain.title')} hint={<StateMark tone="bad">{t('card.unverified')}</StateMark>}><p className="dim">{t('card.unknownChain')}</p></Panel>
  }
  return (
    <Panel title={t('trustChain.title')} hint={c.development ? <StateMark tone="warn">{t('plugin.development')}</StateMark> : <StateMark tone={c.via === 'recent' ? 'warn' : 'good'}>{t(`trustChain.via.${c.via as 'official'}`, { defaultValue: c.via })}</StateMark>}>
      <p className={`dim ${css.intro}`}>{t('trustChain.text')}</p>
      <ol className={css.chain}>
        {c.chain.map((link, n) => <Link key={`${link.role}${n}`} link={link} root={n === 0 ? c.root : undefined} keys={link.role === c.role ? c.keys : undefined} development={c.development} />)}
        <li data-tone="good">
          <div className={css.linkHead}><strong>{t('trustChain.release')}</strong><span className="num">{p.version}</span></div>
          {release && <p className="dim">{t('trustChain.descriptor')} <code title={release.descriptor}>{short(release.descriptor)}</code></p>}
        </li>
      </ol>
    </Panel>
  )
}

const week = 7 * 86_400_000

function Link({ link: l, root, keys, development }: { link: ChainLink; root?: string; keys?: string[]; development: boolean }) {
  const { t } = useTranslation()
  const left = useNow().getTime()
  const expires = l.expires ? new Date(l.expires).getTime() - left : Infinity
  const tone: Tone = expires < 0 ? 'bad' : expires < week && !online.has(l.role) ? 'warn' : development || l.role === 'recent' ? 'warn' : 'good'
  const name = t(`trustChain.roles.${l.role as 'root'}`, { defaultValue: '' })
  return (
    <li data-tone={tone}>
      <div className={css.linkHead}>
        <strong>{name || l.who || l.role}</strong>
        <code className="dim">{l.role}</code>
      </div>
      {name && l.who && <p>{l.who}</p>}
      <p className="dim">
        {t('trustChain.keys', { threshold: l.threshold, count: l.keys })}
        {keys && keys.length > 0 && <>: {keys.map((k, n) => <span key={k}>{n > 0 && ', '}<code title={k}>{short(k)}</code></span>)}</>}
      </p>
      {root && <p className="dim">{t('trustChain.pinned')} <code title={root}>{short(root)}</code></p>}
      {l.expires && <p className={expires < 0 ? css.expired : 'dim'}>{t(expires < 0 ? 'trustChain.expired' : 'trustChain.expires')} <Time at={l.expires} /></p>}
    </li>
  )
}

/** Roles of the online key are made anew each day, so a near end says nothing. */
const online = new Set(['snapshot', 'timestamp', 'recent'])
