// What the marketplace and the fleet pages ask for and change. All of it helps people to choose; what may run is decided
// by the signatures that each node checks itself.
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import type { MarketFilter, MarketKind, Tier } from '../lib/marketAddress'
import { answer, api, upload } from './http'
import { pluginPath } from './queries'
import type { components } from './schema'
import type { JSONSchema } from './types'

type S = components['schemas']

/** A plugin, model or data pack as lists show it. */
export interface Hit extends Omit<S['Hit'], 'kind' | 'tier'> {
  kind: MarketKind
  tier?: Tier
}
export type Rating = S['Rating']
export interface SearchAnswer extends Omit<S['MarketPage'], 'items' | 'facets'> {
  items: Hit[]
  facets: Facets
}
/** Value → how many have it. */
export type Facets = Partial<Record<'kind' | 'tag' | 'tier', Record<string, number>>>
export interface FrontAnswer {
  kinds: { kind: MarketKind; count: number }[]
  recommended: { plugin: Hit; because: string }[]
  popular: Hit[]
  new: Hit[]
  updated: Hit[]
}

export type Release = S['OfferedRelease']
export type GateState = 'passed' | 'warning' | 'failed' | 'not checked'
export interface Gate extends Omit<S['Gate'], 'state'> {
  state: GateState
}
/** What the registry found out about one release. */
export interface Card extends Omit<S['Card'], 'gates' | 'tier'> {
  tier: Tier
  gates: Gate[]
}
export type QualityFigure = S['QualityFigure']
export type ChainLink = S['TrustLink']
export type TrustReport = S['OfferTrust']
export type Override = S['Override']
export type Review = S['Review']

/** One of them in full, before it is installed. */
export interface MarketPlugin extends Omit<S['Offer'], 'kind' | 'tier' | 'card'> {
  kind: MarketKind
  tier?: Tier
  card?: Card
}

/** Models and data packs are read by others and never run. */
export const runs = (p: Pick<Hit, 'kind'>): boolean => p.kind !== 'model' && p.kind !== 'data'

export interface Plan extends Omit<S['InstallPlan'], 'config' | 'config_schema'> {
  config_schema?: JSONSchema
  /** As it is now, without its secrets. */
  config?: Record<string, unknown>
}
export type InstallWish = S['InstallInput']
export type InstallJob = S['InstallJob']
export type InstallStep = S['InstallStep']

export interface Publisher extends Omit<S['Publisher'], 'plugins'> {
  plugins: Hit[]
}
export interface PublishJob extends Omit<S['PublishJob'], 'gates'> {
  gates: Gate[]
}

export type Fleet = Omit<S['Fleet'], 'plugins'> & { plugins: FleetPlugin[] }
export interface FleetPlugin extends Omit<S['FleetPlugin'], 'kind'> {
  kind: MarketKind
}
export type FleetVersion = S['FleetVersion']
export type FleetUser = S['FleetUser']
export type FleetNode = S['FleetNode']
export type UpdatePolicy = S['UpdatePolicy']
export type Rollout = S['Rollout']
export type RolloutNode = S['RolloutNode']
export type RolloutWish = S['NewRollout']
export type RolloutDeed = 'pause' | 'resume' | 'halt' | 'finish'

export const pageSize = 50

export const front = queryOptions({
  queryKey: ['market', 'front'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/market/front', { signal })) as Promise<FrontAnswer>,
  staleTime: 60_000,
})

export const search = ({ installed, ...filter }: MarketFilter, page: number) =>
  queryOptions({
    queryKey: ['market', 'search', filter, installed, page],
    queryFn: ({ signal }) => {
      const query = { ...filter, installed: installed ? ('true' as const) : undefined, offset: (page - 1) * pageSize, limit: pageSize }
      return answer(api.GET('/api/v1/market/plugins', { params: { query }, signal })) as Promise<SearchAnswer>
    },
    staleTime: 30_000,
    // While somebody types, what was found before stays.
    placeholderData: keepPreviousData,
  })

const path = (id: string) => ({ path: pluginPath(id) })

export const marketPlugin = (id: string, version?: string) =>
  queryOptions({
    queryKey: ['market', 'plugin', id, version ?? ''],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/market/plugins/{ns}/{name}', { params: { ...path(id), query: { version } }, signal })) as Promise<MarketPlugin>,
    staleTime: 30_000,
  })

export const reviews = (id: string) =>
  queryOptions({
    queryKey: ['market', 'reviews', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/market/plugins/{ns}/{name}/reviews', { params: path(id), signal })),
  })

export const publisher = (ns: string) =>
  queryOptions({
    queryKey: ['market', 'publisher', ns],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/market/publishers/{ns}', { params: { path: { ns } }, signal })) as Promise<Publisher>,
    staleTime: 30_000,
  })

export const plan = (id: string, wish: { version?: string; node?: string }) =>
  queryOptions({
    queryKey: ['market', 'plan', id, wish.version ?? '', wish.node ?? ''],
    queryFn: ({ signal }) => answer(api.POST('/api/v1/market/plugins/{ns}/{name}/plan', { params: path(id), body: wish, signal })) as Promise<Plan>,
    staleTime: 10_000,
    retry: false,
  })

export const isInstallOver = (job: InstallJob | undefined): boolean => job !== undefined && job.state !== 'running'

export const installJob = (id: string) =>
  queryOptions({
    queryKey: ['market', 'install', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/market/installs/{id}', { params: { path: { id } }, signal })),
    refetchInterval: (q) => (isInstallOver(q.state.data) ? false : 400),
  })

export const isPublishOver = (job: PublishJob | undefined): boolean => job?.state === 'published' || job?.state === 'refused'

export const publishJob = (id: string) =>
  queryOptions({
    queryKey: ['market', 'publish', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/market/publish/{id}', { params: { path: { id } }, signal })) as Promise<PublishJob>,
    refetchInterval: (q) => (isPublishOver(q.state.data) ? false : 700),
  })

export const fleet = queryOptions({
  queryKey: ['fleet'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/fleet', { signal })) as Promise<Fleet>,
})

export const rollouts = queryOptions({
  queryKey: ['fleet', 'rollouts'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/fleet/rollouts', { signal })),
  refetchInterval: (q) => (q.state.data?.items.some((r) => !isRolloutOver(r)) ? 2000 : false),
})

/** A halted one still brings its machines back. */
export const isRolloutOver = (r: Pick<Rollout, 'state'>): boolean => r.state === 'done' || r.state === 'rolled back'

export const reportReasons = ['malware', 'impersonation', 'broken', 'copyright', 'spam', 'other'] as const
export type ReportReason = (typeof reportReasons)[number]

export const market = {
  install: (id: string, wish: InstallWish) => answer(api.POST('/api/v1/market/plugins/{ns}/{name}/install', { params: path(id), body: wish })),
  review: (id: string, stars: number, text: string) => answer(api.POST('/api/v1/market/plugins/{ns}/{name}/review', { params: path(id), body: { stars, text } })),
  report: (id: string, version: string, reason: ReportReason, text: string) =>
    answer(api.POST('/api/v1/market/plugins/{ns}/{name}/report', { params: path(id), body: { version, reason, text } })),
  publish: (archive: File, onProgress: (fraction: number) => void, signal: AbortSignal) => upload<{ job: string }>('/api/v1/market/publish', archive, onProgress, signal, 'raw'),
}

const one = (id: string) => ({ params: { path: { id } } })
const bare = (id: string) => ({ ...one(id), body: {} })

export const rollout = {
  start: (wish: RolloutWish) => answer(api.POST('/api/v1/fleet/rollouts', { body: wish })),
  pause: (id: string) => answer(api.POST('/api/v1/fleet/rollouts/{id}/pause', bare(id))),
  /** With the grants that it waits for. */
  resume: (id: string, grants?: 'all') => answer(api.POST('/api/v1/fleet/rollouts/{id}/resume', { ...one(id), body: { grants } })),
  halt: (id: string) => answer(api.POST('/api/v1/fleet/rollouts/{id}/halt', bare(id))),
  finish: (id: string) => answer(api.POST('/api/v1/fleet/rollouts/{id}/finish', bare(id))),
}

export const fleetActions = {
  policy: (id: string, policy: Pick<UpdatePolicy, 'auto' | 'cooldown_days' | 'group'>) =>
    answer(api.PUT('/api/v1/plugins/{ns}/{name}/updates', { params: path(id), body: policy })),
  group: (id: string, group: string) => answer(api.PUT('/api/v1/agents/{id}/group', { ...one(id), body: { group } })),
  override: (id: string, version: string, reason: string, node?: string) =>
    answer(api.POST('/api/v1/plugins/{ns}/{name}/override-revocation', { params: path(id), body: { version, reason, node } })),
  endOverride: (id: string, version: string) => answer(api.DELETE('/api/v1/plugins/{ns}/{name}/override-revocation', { params: { ...path(id), query: { version } } })),
}
