import { Link, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { MarketPlugin, Release } from '../../../api/market'
import { pluginPath } from '../../../api/queries'
import '../../../locales/plugins'
import { TierMark } from '../../../ui/kinds'
import { Markdown } from '../../../ui/Markdown'
import { StateMark } from '../../../ui/marks'
import { Panel } from '../../../ui/Page'
import { Ago } from '../../../ui/Time'
import ui from '../../../ui/ui.module.css'
import css from '../card.module.css'

const shownAtFirst = 6

/** Every version with its channel, whether it was withdrawn, and what changed. */
export function Releases({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const [all, setAll] = useState(false)
  const shown = all ? p.releases : p.releases.slice(0, shownAtFirst)
  return (
    <Panel title={t('card.versions')} hint={t('card.versionsHint', { count: p.releases.length })} flush>
      <table className={`${ui.table} ${css.releases}`}>
        <caption className="visually-hidden">{t('card.versions')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('plugins.version')}</th>
            <th scope="col">{t('plugins.state')}</th>
            <th scope="col" className={ui.medium}>{t('card.checked')}</th>
            <th scope="col" className={ui.right}>{t('card.published')}</th>
          </tr>
        </thead>
        <tbody>{shown.map((r) => <Row key={r.version} release={r} plugin={p} />)}</tbody>
      </table>
      {p.releases.length > shownAtFirst && <div className={ui.more}><button type="button" className={css.unfold} aria-expanded={all} onClick={() => setAll(!all)}>{all ? t('card.less') : t('card.allVersions', { count: p.releases.length })}</button></div>}
      {p.changelog && (
        <details className={css.changelog}>
          <summary>{t('card.changelog')}</summary>
          <div><Markdown source={p.changelog} /></div>
        </details>
      )}
    </Panel>
  )
}

function Row({ release: r, plugin: p }: { release: Release; plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const { version } = useSearch({ from: '/inside/market/$ns/$name' })
  const here = r.version === p.version
  return (
    <tr className={ui.row} data-shown={(here && !!version) || undefined}>
      <td className="num"><Link to="/market/$ns/$name" params={pluginPath(p.id)} search={{ version: r.version }} className={ui.main} replace resetScroll={false} aria-current={here || undefined}>{r.version}</Link></td>
      <td>
        <span className={ui.lines}>
          {r.revoked ? <StateMark tone="bad">{t('market.revoked')}</StateMark>
            : r.yanked ? <StateMark tone="warn">{t('market.yanked')}</StateMark>
            : p.installed?.version === r.version ? <StateMark tone="good">{t('card.runsHere')}</StateMark>
            : <span className="dim">{t(`card.channels.${r.channel}`, { defaultValue: r.channel })}</span>}
          {(r.revoked || r.yanked) && <span className={ui.sub}>{r.revoked || r.yanked}</span>}
        </span>
      </td>
      <td className={ui.medium}><TierMark tier={r.tier} /></td>
      <td className={ui.right}><Ago at={r.published} /></td>
    </tr>
  )
}
