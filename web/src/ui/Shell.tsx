// The frame around every page behind the login: navigation, who is signed in, how fresh the page is.
import { ActionIcon, useMantineColorScheme } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router'
import { lazy, Suspense, useEffect, useRef, useState, useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { session } from '../api/actions'
import { contactStore } from '../api/http'
import { unread } from '../api/inbox'
import { me, overview } from '../api/queries'
import { useMay } from '../api/useMay'
import { clock } from '../lib/format'
import { isFlow } from '../lib/places'
import { isOperator } from '../lib/roles'
import { LiveProvider, useLive } from '../live/LiveProvider'
import {
  AlertIcon, AttackIcon, AuditIcon, CaptureIcon, CloseIcon, CommandIcon, DeviceIcon, FleetIcon, FlowIcon, GroupIcon, HealthIcon, InboxIcon, IncidentIcon, MachineIcon, Mark, MarketIcon, MenuIcon, MoonIcon, OverviewIcon, PluginIcon, RuleIcon, SearchIcon, SettingsIcon,
  ShieldIcon, SignOutIcon, SunIcon, SystemIcon, TenantIcon, TokenIcon, UserIcon,
} from './icons'
import { StateMark } from './marks'
import css from './shell.module.css'
import { useNow } from './Time'

const Prove = lazy(() => import('./Prove').then((m) => ({ default: m.Prove })))

const places = [
  { to: '/', label: 'nav.overview', Icon: OverviewIcon },
  { to: '/inbox', label: 'nav.inbox', Icon: InboxIcon, deed: 'alerts:read' },
  { to: '/incidents', label: 'nav.incidents', Icon: IncidentIcon },
  { to: '/alerts', label: 'nav.alerts', Icon: AlertIcon },
  { to: '/attack', label: 'nav.attack', Icon: AttackIcon },
  { to: '/rules', label: 'nav.rules', Icon: RuleIcon, deed: 'rules:read' },
  { to: '/captures', label: 'nav.captures', Icon: CaptureIcon },
  { to: '/flows', label: 'nav.flows', Icon: FlowIcon },
  { to: '/devices', label: 'nav.devices', Icon: DeviceIcon },
  { to: '/plugins', label: 'nav.plugins', Icon: PluginIcon, deed: 'plugins:read' },
  { to: '/market', label: 'nav.market', Icon: MarketIcon, deed: 'plugins:read' },
  { to: '/machines', label: 'nav.machines', Icon: MachineIcon },
  { to: '/groups', label: 'nav.groups', Icon: GroupIcon, deed: 'agents:read' },
  { to: '/fleet', label: 'nav.fleet', Icon: FleetIcon, operator: true },
  { to: '/commands', label: 'nav.commands', Icon: CommandIcon, deed: 'agents:read' },
  { to: '/explore', label: 'nav.explore', Icon: SearchIcon, deed: 'metrics:read' },
] as const

const admin = [
  { to: '/users', label: 'nav.users', Icon: UserIcon, deed: 'users:admin' },
  { to: '/tenants', label: 'nav.tenants', Icon: TenantIcon, deed: 'tenants:admin' },
  { to: '/tenant', label: 'nav.tenant', Icon: TenantIcon, deed: 'users:admin', guest: true },
  { to: '/tokens', label: 'nav.tokens', Icon: TokenIcon, deed: 'tokens:admin' },
  { to: '/audit', label: 'nav.audit', Icon: AuditIcon, deed: 'audit:read' },
  { to: '/system', label: 'nav.system', Icon: HealthIcon, deed: 'server:read' },
  { to: '/settings', label: 'nav.settings', Icon: SettingsIcon, deed: 'settings:admin' },
] as const

export function Shell() {
  return (
    <LiveProvider>
      <Frame />
    </LiveProvider>
  )
}

function Frame() {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const path = useRouterState({ select: (s) => s.location.pathname })
  const main = useRef<HTMLElement>(null)
  const visited = useRef(path)
  const { data: who } = useQuery(me)

  useEffect(() => {
    setOpen(false)
    if (visited.current === path) return
    visited.current = path
    // A screen reader hears the new page's heading; the keyboard goes on from there.
    main.current?.querySelector('h1')?.focus({ preventScroll: true })
  }, [path])

  return (
    <div className={css.frame}>
      <a className="skip" href="#main">{t('nav.skip')}</a>
      <nav className={css.top} aria-label={t('nav.label')}>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t('nav.menu')} aria-expanded={open} onClick={() => setOpen(true)}>
          <MenuIcon size={20} />
        </ActionIcon>
        <Brand />
        <LiveState compact />
      </nav>
      <nav className={css.side} aria-label={t('nav.label')}>
        <Brand />
        <Places />
        <Foot />
      </nav>
      <Drawer open={open} onClose={() => setOpen(false)} />
      <main id="main" ref={main} className={css.main}>
        <OutOfReach />
        {who?.trust === 'development' && (
          <p className={css.trust} role="note">
            <ShieldIcon />
            <span><strong>{t('trust.title')}</strong> {t('trust.text')}</span>
          </p>
        )}
        <Outlet />
      </main>
      <Suspense><Prove /></Suspense>
    </div>
  )
}

/** The navigation on narrow screens. The browser's own dialog keeps the focus inside and closes on Escape. */
function Drawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useTranslation()
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    if (open) dialog.current?.showModal()
    else dialog.current?.close()
  }, [open])
  return (
    <dialog ref={dialog} className={css.drawer} aria-label={t('nav.menuLabel')} onClose={onClose} onClick={(e) => e.target === e.currentTarget && onClose()}>
      {open && (
        <nav className={css.drawerBody} aria-label={t('nav.label')}>
          <div className={css.drawerHead}>
            <Brand />
            <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t('close')} onClick={onClose}><CloseIcon /></ActionIcon>
          </div>
          <Places />
          <Foot />
        </nav>
      )}
    </dialog>
  )
}

function Brand() {
  return (
    <Link to="/" className={css.brand}>
      <Mark />
      <span>Picket</span>
    </Link>
  )
}

function Places() {
  const { t } = useTranslation()
  const can = useMay()
  const { data: who } = useQuery(me)
  const { data } = useQuery(overview)
  const { data: inbox } = useQuery({ ...unread, enabled: can('alerts:read') })
  const flow = useRouterState({ select: (s) => isFlow(s.location.pathname) })
  const open = Object.values(data?.alerts ?? {}).reduce((a, b) => a + b, 0)
  return (
    <div className={css.nav}>
      <ul>
        {places.filter((p) => p.to === '/' || (can('deed' in p ? p.deed : 'watch') && (!('operator' in p) || isOperator(who)))).map(({ to, label, Icon }) => (
          <li key={to}>
            <Link to={to} activeOptions={{ exact: to === '/' || (to === '/captures' && flow) }} activeProps={{ 'aria-current': 'page' }}
              aria-current={to === '/flows' && flow ? 'page' : undefined} className={css.place}>
              <Icon />
              <span>{t(label)}</span>
              {to === '/inbox' && !!inbox?.unread && <span className={css.count} aria-label={t('nav.unread', { count: inbox.unread })}>{inbox.unread}</span>}
              {to === '/incidents' && !!data?.incidents && <span className={css.count} aria-label={t('nav.openIncidents', { count: data.incidents })}>{data.incidents}</span>}
              {to === '/alerts' && open > 0 && <span className={css.count} aria-label={t('nav.open', { count: open })}>{open}</span>}
            </Link>
          </li>
        ))}
      </ul>
      <ul>
        {admin.filter((p) => can(p.deed) && (!('guest' in p) || !isOperator(who))).map(({ to, label, Icon }) => (
          <li key={to}>
            <Link to={to} activeProps={{ 'aria-current': 'page' }} className={css.place}>
              <Icon />
              <span>{t(label)}</span>
            </Link>
          </li>
        ))}
      </ul>
    </div>
  )
}

function Foot() {
  const { t } = useTranslation()
  const { data: who } = useQuery(me)
  const client = useQueryClient()
  const navigate = useNavigate()
  const signOut = async () => {
    await session.logout().catch(() => undefined) // the cookie may be gone already; leaving is right either way
    client.clear()
    await navigate({ to: '/signin', search: {} })
  }
  return (
    <div className={css.foot}>
      <LiveState />
      <div className={css.footRow}>
        <Link to="/account" className={css.who} title={who?.tenant ? t('account.ofTenant', { tenant: who.tenant }) : t('account.title')}>
          <UserIcon />
          <span>{who ? `${who.tenant && `${who.tenant}/`}${who.username}` : '…'}</span>
        </Link>
        <SchemeSwitch />
        <ActionIcon variant="subtle" color="gray" aria-label={t('nav.signOut')} title={t('nav.signOut')} onClick={() => void signOut()}>
          <SignOutIcon />
        </ActionIcon>
      </div>
      {who && <p className={css.version}>{t('nav.version', { version: who.version })}</p>}
    </div>
  )
}

const schemes = { auto: ['light', SystemIcon], light: ['dark', SunIcon], dark: ['auto', MoonIcon] } as const

function SchemeSwitch() {
  const { t } = useTranslation()
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const [next, Icon] = schemes[colorScheme]
  const label = t('scheme.label', { now: t(`scheme.${colorScheme}`), next: t(`scheme.${next}`) })
  return (
    <ActionIcon variant="subtle" color="gray" aria-label={label} title={label} onClick={() => setColorScheme(next)}>
      <Icon />
    </ActionIcon>
  )
}

function LiveState({ compact }: { compact?: boolean }) {
  const { t } = useTranslation()
  const { state, seen } = useLive()
  const now = useNow()
  const since = seen === null ? '' : clock(new Date(seen), now)
  return (
    <p className={css.live} role="status" data-compact={compact || undefined}>
      {state === 'open' ? <StateMark tone="good">{t('live.open')}</StateMark>
        : state === 'connecting' ? <StateMark tone="busy">{t('live.connecting')}</StateMark>
        : <StateMark tone="warn">{compact || !since ? t('live.down') : t('live.downSince', { since })}</StateMark>}
    </p>
  )
}

function OutOfReach() {
  const { t } = useTranslation()
  const now = useNow()
  const { reachable, answered } = useSyncExternalStore(contactStore.subscribe, contactStore.get)
  if (reachable) return null
  return (
    <p className={css.stale} role="alert">
      <strong>{t('stale.title')}</strong>{' '}
      {answered === null ? t('stale.never') : t('stale.text', { time: clock(new Date(answered), now) })}
    </p>
  )
}
