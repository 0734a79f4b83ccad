// Everything somebody needs to judge a plugin, a model or a data pack before it runs here.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { marketPlugin, runs, type MarketPlugin } from '../../api/market'
import { me, pluginPath } from '../../api/queries'
import { useMay } from '../../api/useMay'
import { count } from '../../lib/format'
import { namespaceOf, newestOf, updateOf } from '../../lib/market'
import { compareVersions } from '../../lib/versions'
import '../../locales/market'
import '../../locales/plugins'
import { FlagIcon } from '../../ui/icons'
import { KindBadge, Stars, TierMark } from '../../ui/kinds'
import { LoadedPage } from '../../ui/LoadedPage'
import { StateMark } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { RiskMark, Permissions } from '../../ui/Permissions'
import { highestRisk } from '../../lib/risk'
import { Ago } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import { Rules } from '../plugin/Rules'
import { About, Facts } from './card/About'
import { Checks } from './card/Checks'
import { Figures, hasFigures } from './card/Figures'
import { Releases } from './card/Releases'
import { ReportDialog, Reviews } from './card/Reviews'
import { Trust } from './card/Trust'
import css from './card.module.css'

// Forms are the largest part of this page, and few visits need them.
const InstallDialog = lazy(() => import('./InstallDialog'))
const UpdateDialog = lazy(() => import('./UpdateDialog'))

export function CardPage() {
  const { t } = useTranslation()
  const { ns, name } = useParams({ from: '/inside/market/$ns/$name' })
  const { version } = useSearch({ from: '/inside/market/$ns/$name' })
  const query = useQuery(marketPlugin(`${ns}/${name}`, version))
  return (
    <LoadedPage query={query} title={`${ns}/${name}`} back={{ to: '/market', label: t('market.title') }}>
      {(p) => <Card key={p.id} plugin={p} />}
    </LoadedPage>
  )
}

type Dialog = 'install' | 'update' | 'report' | null

function Card({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const can = useMay()
  const [open, setOpen] = useState<Dialog>(null)
  const update = updateOf(p)
  const close = () => setOpen(null)
  const withdrawn = !!p.revoked || !!p.yanked
  return (
    <Page
      title={p.title || p.id}
      back={{ to: '/market', label: t('market.title') }}
      lead={p.summary}
      actions={
        <>
          {can('operate') && <Button variant="subtle" color="gray" leftSection={<FlagIcon size={16} />} onClick={() => setOpen('report')}>{t('card.report')}</Button>}
          {p.installed && runs(p) && <Button component={Link} to={`/plugins/${p.id}`} variant="default">{t('card.open')}</Button>}
          {can('administer') && !p.revoked && (update
            ? <Button onClick={() => setOpen('update')}>{t('card.update', { version: update })}</Button>
            : !p.installed && <Button onClick={() => setOpen('install')} variant={withdrawn ? 'default' : 'filled'}>{t('card.install')}</Button>)}
        </>
      }
    >
      <Suspense>
        {open === 'install' && <InstallDialog plugin={p} onClose={close} />}
        {open === 'update' && <UpdateDialog plugin={p} to={p.version} onClose={close} />}
      </Suspense>
      {open === 'report' && <ReportDialog plugin={p} onClose={close} />}
      <Banners plugin={p} />
      <OlderNote plugin={p} />
      <Strip plugin={p} />
      <div className={css.layout}>
        <div className={css.about}>
          <About plugin={p} />
        </div>
        <div className={css.side}>
          {runs(p) && (
            <Panel title={t('plugin.permissions')} hint={<RiskMark level={highestRisk(p.permissions)} />}>
              {p.unverified ? <p className="dim">{t('card.unknownPermissions')}</p> : (
                <>
                  <p className={`dim ${css.intro}`}>{t('card.permissionsText')}</p>
                  <Permissions permissions={p.permissions} risk />
                </>
              )}
            </Panel>
          )}
          <Checks plugin={p} />
          <Trust trust={p.trust} plugin={p} />
          <Requires plugin={p} />
          <Facts plugin={p} />
        </div>
        <div className={css.rest}>
          {p.rules.length > 0 && <Rules rules={p.rules} />}
          {hasFigures(p) && <Figures plugin={p} />}
          <Releases plugin={p} />
          <Reviews plugin={p} />
        </div>
      </div>
    </Page>
  )
}

function Strip({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  return (
    <section className={css.strip} aria-label={t('card.atAGlance')}>
      <KindBadge kind={p.kind} large />
      <dl>
        <div><dt>{t('market.filterNames.publisher')}</dt><dd><Link to="/publishers/$ns" params={{ ns: namespaceOf(p.id) }}>{namespaceOf(p.id)}</Link></dd></div>
        <div><dt>{t('plugins.version')}</dt><dd className="num">{p.version} <span className="dim"><Ago at={p.published} /></span></dd></div>
        <div><dt>{t('card.checked')}</dt><dd><TierMark tier={p.tier} /></dd></div>
        <div><dt>{t('card.rating')}</dt><dd><Stars rating={p.rating} /></dd></div>
        <div><dt>{t('card.installs')}</dt><dd className="num">{count(p.installs)}</dd></div>
        <div><dt>{t('card.here')}</dt><dd><Here plugin={p} /></dd></div>
      </dl>
    </section>
  )
}

function Here({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const here = p.installed
  if (!here) return <span className="dim">{t('card.notHere')}</span>
  if (p.releases.some((r) => r.version === here.version && r.revoked)) return <StateMark tone="bad">{t('card.hereRevoked', { version: here.version })}</StateMark>
  return <StateMark tone={here.enabled ? 'good' : 'off'}>{t('card.hereVersion', { version: here.version, count: here.nodes })}</StateMark>
}

/** Where the whole server stands on development trust, every page says so already. */
function Banners({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const { data: who } = useQuery(me)
  return (
    <>
      {p.revoked && (
        <div className={ui.error} role="alert">
          <strong>{t('card.revokedTitle', { version: p.version })}</strong>
          <span className="break">{p.revoked}</span>
          <span className="dim">{t('card.revokedText')}</span>
        </div>
      )}
      {p.yanked && !p.revoked && <Banner title={t('card.yankedTitle', { version: p.version })} text={p.yanked} next={t('card.yankedText')} />}
      {p.unverified && !p.revoked && <Banner title={t('card.unverifiedTitle')} text={p.unverified} next={t('card.unverifiedText')} />}
      {p.trust.development && who?.trust !== 'development' && <Banner title={t('trust.title')} text={t('card.developmentText')} />}
      {p.via === 'recent' && <Banner title={t('card.recentTitle')} text={t('card.recentText')} />}
    </>
  )
}

/** Somebody who looks at an old version should know that there is a newer one. */
function OlderNote({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const newest = newestOf(p.releases)
  if (!newest || compareVersions(newest, p.version) <= 0) return null
  return <p className={css.older}>{t('card.older', { version: p.version })} <Link to="/market/$ns/$name" params={pluginPath(p.id)}>{t('card.seeNewest', { version: newest })}</Link></p>
}

function Banner({ title, text, next }: { title: string; text: string; next?: string }) {
  return (
    <div className={css.banner} role="note">
      <strong>{title}</strong>
      <span className="break">{text}</span>
      {next && <span className="dim">{next}</span>}
    </div>
  )
}

function Requires({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  if (p.requires.length === 0) return null
  return (
    <Panel title={t('card.requires')} hint={t('card.requiresHint')}>
      <ul className={css.requires}>
        {p.requires.map((r) => (
          <li key={r.plugin}>
            <Link to="/market/$ns/$name" params={pluginPath(r.plugin)} className="mono">{r.plugin}</Link>
            <span className="mono dim">{r.version}</span>
          </li>
        ))}
      </ul>
    </Panel>
  )
}
