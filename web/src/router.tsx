// Every address of the app. A page's code is loaded when it is first visited, and its words with it (i18n.ts).
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet, redirect } from '@tanstack/react-router'
import { queryClient } from './api/client'
import { ApiError, whenSignedOut } from './api/http'
import { deliveryStates, type DeliveryState } from './api/inbox'
import { front } from './api/market'
import { deviceSorts, me, setup, sinceDays, type DeviceSort, type Since } from './api/queries'
import { alertStates, incidentStates, severities, type AlertState, type IncidentState, type Severity } from './api/types'
import { readFlowAddress, type FlowAddress } from './lib/flowFilter'
import { readMachineAddress, type MachineAddress } from './lib/machineFilter'
import { isSearch, readAddress, type MarketAddress } from './lib/marketAddress'
import { NotFound, RouteError } from './pages/Errors'
import { Shell } from './ui/Shell'

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound, errorComponent: RouteError })

/** Everything behind the login. Who is not signed in goes to the page that helps, and comes back. */
const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  component: Shell,
  beforeLoad: async ({ location }) => {
    try {
      const who = await queryClient.ensureQueryData(me)
      if (who.must_enrol && location.pathname !== '/account') throw redirect({ to: '/account' })
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error
      const { needed } = await queryClient.fetchQuery(setup)
      if (needed) throw redirect({ to: '/setup' })
      throw redirect({ to: '/signin', search: location.href === '/' ? {} : { next: location.href } })
    }
  },
})

type Search = Record<string, unknown>

const sinces = Object.keys(sinceDays) as Since[]
const domains = ['enterprise', 'ics'] as const

interface AlertAddress {
  state?: AlertState | 'all'
  severity?: Severity
  since?: Since
  capture?: string
  detector?: string
  technique?: string
  entity?: string
  /** The alert that is shown beside the list. */
  open?: string
}

interface IncidentsAddress {
  state?: IncidentState | 'all'
  severity?: Severity
  since?: Since
  technique?: string
  host?: string
  sort?: (typeof sorts)[number]
}

const firstSteps = ['name', 'retention', 'watch', 'machine', 'mail', 'end'] as const

interface ExploreAddress {
  q?: string[]
  /** How far back from now, when there is no from and to. */
  r?: string
  from?: number
  to?: number
  compare?: string
}

const sorts = ['latest', 'newest'] as const

interface AttackAddress {
  domain?: (typeof domains)[number]
  since?: Since | 'ever'
  /** The one that somebody came for. */
  technique?: string
  all?: boolean
}

/** A part of the query that must be one of these. */
function oneOf<K extends string, V extends string>(search: Search, key: K, known: readonly V[]): Partial<Record<K, V>> {
  const value = known.find((v) => v === search[key])
  return value === undefined ? {} : ({ [key]: value } as Partial<Record<K, V>>)
}

/** A part of the query that must be a number of something. */
function positive<K extends string>(search: Search, key: K): Partial<Record<K, number>> {
  const value = search[key]
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? ({ [key]: value } as Partial<Record<K, number>>) : {}
}

/** The named parts of an address's query. A value that looks like a number was one in the address, too. */
function texts<K extends string>(search: Search, ...keys: K[]): Partial<Record<K, string>> {
  const out: Partial<Record<K, string>> = {}
  for (const key of keys) {
    const value = search[key]
    if (value !== undefined && value !== null && value !== '' && typeof value !== 'object') out[key] = String(value)
  }
  return out
}

/** A part of time that a chart shows closely. */
const partOfTime = ({ from, to }: Search): Partial<{ from: number; to: number }> => (typeof from === 'number' && typeof to === 'number' && from < to ? { from, to } : {})

/** Waits a moment for what a page shows, so that it need not be drawn twice. The page itself shows what went wrong. */
const shortly = (data: Promise<unknown>): Promise<unknown> => Promise.race([data.catch(() => undefined), new Promise((done) => setTimeout(done, 120))])

const overviewRoute = createRoute({
  getParentRoute: () => inside,
  path: '/',
  component: lazyRouteComponent(() => import('./pages/Overview'), 'OverviewPage'),
})
const incidentsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/incidents',
  validateSearch: (search: Search): IncidentsAddress => ({
    ...oneOf(search, 'state', [...incidentStates, 'all'] as const),
    ...oneOf(search, 'severity', severities),
    ...oneOf(search, 'since', sinces),
    ...oneOf(search, 'sort', sorts),
    ...texts(search, 'technique', 'host'),
  }),
  component: lazyRouteComponent(() => import('./pages/Incidents'), 'IncidentsPage'),
})
const incidentRoute = createRoute({
  getParentRoute: () => inside,
  path: '/incidents/$id',
  component: lazyRouteComponent(() => import('./pages/Incident'), 'IncidentPage'),
})
const suppressionsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/suppressions',
  component: lazyRouteComponent(() => import('./pages/Suppressions'), 'SuppressionsPage'),
})
const alertsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/alerts',
  validateSearch: (search: Search): AlertAddress => ({
    ...oneOf(search, 'state', [...alertStates, 'all'] as const),
    ...oneOf(search, 'severity', severities),
    ...oneOf(search, 'since', sinces),
    ...texts(search, 'capture', 'detector', 'technique', 'entity', 'open'),
  }),
  component: lazyRouteComponent(() => import('./pages/Alerts'), 'AlertsPage'),
})
const alertRoute = createRoute({
  getParentRoute: () => inside,
  path: '/alerts/$id',
  component: lazyRouteComponent(() => import('./pages/Alert'), 'AlertPage'),
})
const attackRoute = createRoute({
  getParentRoute: () => inside,
  path: '/attack',
  validateSearch: (search: Search): AttackAddress => ({
    ...oneOf(search, 'domain', domains),
    ...oneOf(search, 'since', [...sinces, 'ever'] as const),
    ...texts(search, 'technique'),
    ...(search.all === true ? { all: true } : {}),
  }),
  component: lazyRouteComponent(() => import('./pages/Attack'), 'AttackPage'),
})
const rulesRoute = createRoute({
  getParentRoute: () => inside,
  path: '/rules',
  validateSearch: (search: Search): { node?: string; kind?: 'metrics' } => ({ ...texts(search, 'node'), ...oneOf(search, 'kind', ['metrics'] as const) }),
  component: lazyRouteComponent(() => import('./pages/Rules'), 'RulesPage'),
})
const ruleRoute = createRoute({
  getParentRoute: () => inside,
  path: '/rules/edit',
  validateSearch: (search: Search): { node?: string; rule?: string; example?: string; whole?: boolean } => ({
    ...texts(search, 'node', 'rule', 'example'),
    ...(search.whole === true ? { whole: true } : {}),
  }),
  component: lazyRouteComponent(() => import('./pages/rules/Editor'), 'RuleEditorPage'),
})
const metricRuleRoute = createRoute({
  getParentRoute: () => inside,
  path: '/rules/metrics/$name',
  component: lazyRouteComponent(() => import('./pages/rules/MetricRule'), 'MetricRulePage'),
})
const newMetricRuleRoute = createRoute({
  getParentRoute: () => inside,
  path: '/rules/new-metric',
  component: lazyRouteComponent(() => import('./pages/rules/MetricRule'), 'NewMetricRulePage'),
})
const inboxRoute = createRoute({
  getParentRoute: () => inside,
  path: '/inbox',
  validateSearch: (search: Search): { show?: 'all'; severity?: Severity } => ({ ...oneOf(search, 'show', ['all'] as const), ...oneOf(search, 'severity', severities) }),
  component: lazyRouteComponent(() => import('./pages/inbox/Inbox'), 'InboxPage'),
})
const deliveriesRoute = createRoute({
  getParentRoute: () => inside,
  path: '/deliveries',
  validateSearch: (search: Search): { state?: DeliveryState } => oneOf(search, 'state', deliveryStates),
  component: lazyRouteComponent(() => import('./pages/inbox/Deliveries'), 'DeliveriesPage'),
})
const capturesRoute = createRoute({
  getParentRoute: () => inside,
  path: '/captures',
  component: lazyRouteComponent(() => import('./pages/Captures'), 'CapturesPage'),
})
const captureRoute = createRoute({
  getParentRoute: () => inside,
  path: '/captures/$id',
  component: lazyRouteComponent(() => import('./pages/Capture'), 'CapturePage'),
})
const flowRoute = createRoute({
  getParentRoute: () => inside,
  path: '/captures/$id/flows/$flow',
  component: lazyRouteComponent(() => import('./pages/flows/Flow'), 'FlowPage'),
})
const keptPacketsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/alerts/$id/packets/$finding',
  validateSearch: (search: Search): { numbers?: string; flow?: string } => texts(search, 'numbers', 'flow'),
  component: lazyRouteComponent(() => import('./pages/alerts/KeptPackets'), 'KeptPacketsPage'),
})
const packetsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/captures/$id/packets',
  validateSearch: (search: Search): { numbers?: string } => texts(search, 'numbers'),
  component: lazyRouteComponent(() => import('./pages/flows/NumberedPackets'), 'NumberedPacketsPage'),
})
const flowsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/flows',
  validateSearch: (search: Search): FlowAddress => readFlowAddress(search),
  component: lazyRouteComponent(() => import('./pages/flows/Flows'), 'FlowsPage'),
})
const devicesRoute = createRoute({
  getParentRoute: () => inside,
  path: '/devices',
  validateSearch: (search: Search): { text?: string; sort?: DeviceSort } => ({ ...texts(search, 'text'), ...oneOf(search, 'sort', deviceSorts) }),
  component: lazyRouteComponent(() => import('./pages/Devices'), 'DevicesPage'),
})
const deviceRoute = createRoute({
  getParentRoute: () => inside,
  path: '/devices/$id',
  component: lazyRouteComponent(() => import('./pages/Device'), 'DevicePage'),
})
const pluginsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/plugins',
  validateSearch: (search: Search): { kind?: string } => texts(search, 'kind'),
  component: lazyRouteComponent(() => import('./pages/Plugins'), 'PluginsPage'),
})
const pluginRoute = createRoute({
  getParentRoute: () => inside,
  path: '/plugins/$ns/$name',
  validateSearch: (search: Search): { instance?: string; node?: string } => texts(search, 'instance', 'node'),
  component: lazyRouteComponent(() => import('./pages/Plugin'), 'PluginPage'),
})
const marketRoute = createRoute({
  getParentRoute: () => inside,
  path: '/market',
  validateSearch: (search: Search): MarketAddress => readAddress(search),
  loaderDeps: ({ search }) => ({ front: !isSearch(search) }),
  loader: ({ deps }) => (deps.front ? shortly(queryClient.ensureQueryData(front)) : undefined),
  component: lazyRouteComponent(() => import('./pages/market/Market'), 'MarketPage'),
})
const publishRoute = createRoute({
  getParentRoute: () => inside,
  path: '/market/publish',
  component: lazyRouteComponent(() => import('./pages/market/Publish'), 'PublishPage'),
})
const marketPluginRoute = createRoute({
  getParentRoute: () => inside,
  path: '/market/$ns/$name',
  validateSearch: (search: Search): { version?: string } => texts(search, 'version'),
  component: lazyRouteComponent(() => import('./pages/market/Card'), 'CardPage'),
})
const publisherRoute = createRoute({
  getParentRoute: () => inside,
  path: '/publishers/$ns',
  component: lazyRouteComponent(() => import('./pages/market/Publisher'), 'PublisherPage'),
})
const fleetRoute = createRoute({
  getParentRoute: () => inside,
  path: '/fleet',
  component: lazyRouteComponent(() => import('./pages/fleet/Fleet'), 'FleetPage'),
})
const machinesRoute = createRoute({
  getParentRoute: () => inside,
  path: '/machines',
  validateSearch: (search: Search): MachineAddress => readMachineAddress(search),
  component: lazyRouteComponent(() => import('./pages/Machines'), 'MachinesPage'),
})
const machineRoute = createRoute({
  getParentRoute: () => inside,
  path: '/machines/$id',
  validateSearch: (search: Search): Partial<{ from: number; to: number }> => partOfTime(search),
  component: lazyRouteComponent(() => import('./pages/Machine'), 'MachinePage'),
})
const groupsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/groups',
  component: lazyRouteComponent(() => import('./pages/groups/Groups'), 'GroupsPage'),
})
const groupRoute = createRoute({
  getParentRoute: () => inside,
  path: '/groups/$name',
  component: lazyRouteComponent(() => import('./pages/groups/Group'), 'GroupPage'),
})
const configRoute = createRoute({
  getParentRoute: () => inside,
  path: '/config/$target',
  validateSearch: (search: Search): { version?: number; against?: number } => ({ ...positive(search, 'version'), ...positive(search, 'against') }),
  component: lazyRouteComponent(() => import('./pages/groups/Config'), 'ConfigPage'),
})
const enrolmentRoute = createRoute({
  getParentRoute: () => inside,
  path: '/enrolment',
  component: lazyRouteComponent(() => import('./pages/groups/Enrolment'), 'EnrolmentPage'),
})
const commandsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/commands',
  component: lazyRouteComponent(() => import('./pages/commands/Commands'), 'CommandsPage'),
})
const orderRoute = createRoute({
  getParentRoute: () => inside,
  path: '/commands/$id',
  component: lazyRouteComponent(() => import('./pages/commands/Order'), 'OrderPage'),
})
const tokensRoute = createRoute({
  getParentRoute: () => inside,
  path: '/tokens',
  component: lazyRouteComponent(() => import('./pages/Tokens'), 'TokensPage'),
})
const usersRoute = createRoute({
  getParentRoute: () => inside,
  path: '/users',
  component: lazyRouteComponent(() => import('./pages/Users'), 'UsersPage'),
})
const tenantsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/tenants',
  component: lazyRouteComponent(() => import('./pages/Tenants'), 'TenantsPage'),
})
const tenantRoute = createRoute({
  getParentRoute: () => inside,
  path: '/tenants/$id',
  component: lazyRouteComponent(() => import('./pages/Tenant'), 'TenantPage'),
})
const ownTenantRoute = createRoute({
  getParentRoute: () => inside,
  path: '/tenant',
  component: lazyRouteComponent(() => import('./pages/Tenant'), 'OwnTenantPage'),
})
const accountRoute = createRoute({
  getParentRoute: () => inside,
  path: '/account',
  component: lazyRouteComponent(() => import('./pages/Account'), 'AccountPage'),
})
const auditRoute = createRoute({
  getParentRoute: () => inside,
  path: '/audit',
  component: lazyRouteComponent(() => import('./pages/Audit'), 'AuditPage'),
})

const exploreRoute = createRoute({
  getParentRoute: () => inside,
  path: '/explore',
  validateSearch: (search: Search): ExploreAddress => ({
    ...(Array.isArray(search.q) ? { q: search.q.map(String).slice(0, 6) } : {}),
    ...texts(search, 'r', 'compare'),
    ...partOfTime(search),
  }),
  component: lazyRouteComponent(() => import('./pages/Explore'), 'ExplorePage'),
})
const sqlRoute = createRoute({
  getParentRoute: () => inside,
  path: '/explore/sql',
  component: lazyRouteComponent(() => import('./pages/explore/Sql'), 'SqlPage'),
})
const systemRoute = createRoute({
  getParentRoute: () => inside,
  path: '/system',
  component: lazyRouteComponent(() => import('./pages/System'), 'SystemPage'),
})
const settingsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/settings',
  component: lazyRouteComponent(() => import('./pages/Settings'), 'SettingsPage'),
})
const welcomeRoute = createRoute({
  getParentRoute: () => inside,
  path: '/welcome',
  validateSearch: (search: Search): { step?: (typeof firstSteps)[number] } => oneOf(search, 'step', firstSteps),
  component: lazyRouteComponent(() => import('./pages/Welcome'), 'WelcomePage'),
})

const setupRoute = createRoute({
  getParentRoute: () => root,
  path: '/setup',
  component: lazyRouteComponent(() => import('./pages/Setup'), 'SetupPage'),
})
const signinRoute = createRoute({
  getParentRoute: () => root,
  path: '/signin',
  validateSearch: (search: Search): { next?: string; elsewhere?: string } => texts(search, 'next', 'elsewhere'),
  component: lazyRouteComponent(() => import('./pages/Signin'), 'SigninPage'),
})

export const router = createRouter({
  routeTree: root.addChildren([
    inside.addChildren([
      overviewRoute, incidentsRoute, incidentRoute, suppressionsRoute, alertsRoute, alertRoute, attackRoute, rulesRoute, ruleRoute, metricRuleRoute, newMetricRuleRoute, inboxRoute, deliveriesRoute, capturesRoute, captureRoute, flowRoute, packetsRoute, keptPacketsRoute, flowsRoute, devicesRoute, deviceRoute, pluginsRoute,
      pluginRoute, marketRoute, publishRoute, marketPluginRoute, publisherRoute, fleetRoute, machinesRoute, machineRoute, groupsRoute, groupRoute, configRoute, enrolmentRoute, commandsRoute, orderRoute, usersRoute, tenantsRoute, tenantRoute, ownTenantRoute, tokensRoute, auditRoute, accountRoute,
      exploreRoute, sqlRoute, systemRoute, settingsRoute, welcomeRoute,
    ]),
    setupRoute,
    signinRoute,
  ]),
  defaultPreload: 'intent',
  scrollRestoration: true,
  defaultErrorComponent: RouteError,
  defaultNotFoundComponent: NotFound,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}

// A session may end while a page is open: the next read says so.
whenSignedOut(() => {
  const { pathname, href } = router.state.location
  if (pathname === '/signin' || pathname === '/setup' || !queryClient.getQueryData(me.queryKey)) return
  queryClient.clear()
  void router.navigate({ to: '/signin', search: { next: href } })
})
