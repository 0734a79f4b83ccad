// What the marketplace and the fleet pages ask for and change. Everything here helps people to choose; what may run is
// decided by the signatures that each node checks itself.
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import type { MarketFilter, MarketKind, Tier } from '../lib/marketAddress'
import { call, upload } from './http'
import type { JSONSchema, Permission } from './types'

export interface Rating {
  stars: number
  count: number
}

/** A plugin, model or data pack as lists show it. */
export interface Hit {
  id: string
  kind: MarketKind
  title: string
  summary: string
  license: string
  homepage?: string
  tags?: string[]
  techniques?: string[]
  metrics?: string[]
  runtimes?: string[]
  via: string
  contact?: string
  version: string
  published: string
  tier?: Tier | ''
  installs: number
  rating: Rating
  yanked?: string
  revoked?: string
  /** Where it runs here. */
  installed?: Installed
  /** The registry it comes from. */
  registry?: string
}

export interface Installed {
  version: string
  enabled: boolean
  nodes: number
}

export interface Facets {
  kind?: Record<string, number>
  tag?: Record<string, number>
  tier?: Record<string, number>
}

export interface SearchAnswer {
  items: Hit[]
  total: number
  facets: Facets
  did_you_mean?: string
}

export interface FrontAnswer {
  kinds: { kind: MarketKind; count: number }[]
  recommended: { plugin: Hit; because: string }[]
  popular: Hit[]
  new: Hit[]
  updated: Hit[]
}

export interface Release {
  version: string
  descriptor: string
  published: string
  channel: 'stable' | 'beta'
  yanked?: string
  revoked?: string
  tier?: Tier | ''
}

export type GateState = 'passed' | 'warning' | 'failed' | 'not checked'

export interface Gate {
  name: string
  state: GateState
  summary?: string
  details?: string[] | null
  evidence_sha256?: string
}

export interface Resources {
  cpu_millis_per_second?: number
  memory_bytes?: number
  start_millis?: number
  nanos_per_record?: number
  machine?: string
}

export interface QualityFigure {
  dataset: string
  family?: string
  precision: number
  recall: number
  false_positives_per_hour: number
  captures: number
  source?: string
}

/** What the registry found out about one release. */
export interface Card {
  id: string
  version: string
  time: string
  tier: Tier
  gates: Gate[]
  resources?: Resources
  quality?: QualityFigure[] | null
  sbom_sha256?: string
}

export interface ChainLink {
  role: string
  who: string
  /** How many keys may sign it, and how many must. */
  keys: number
  threshold: number
  expires?: string
}

export interface TrustReport {
  via: string
  role: string
  /** Ids of the keys that signed the role. */
  keys: string[]
  root: string
  development: boolean
  chain: ChainLink[]
}

export interface ModelFacts {
  format: string
  features?: string
  features_version?: number
  data?: string
  limits?: string
  metrics?: { name: string; value: number; dataset?: string }[]
}

export interface DataFacts {
  format: string
  source?: string
  license?: string
  as_of?: string
}

export interface Requirement {
  plugin: string
  version: string
}

/** A revoked version that an administrator lets run on. */
export interface Override {
  version: string
  /** "server", the id of an agent, or empty for every node. */
  node: string
  reason: string
  by: string
  time: string
}

export interface MarketPlugin extends Hit {
  releases: Release[]
  readme?: string
  changelog?: string
  card?: Card
  requires: Requirement[]
  permissions: Permission[]
  screenshots: { url: string; alt: string; width?: number; height?: number }[]
  model?: ModelFacts
  data?: DataFacts
  trust: TrustReport
  overrides: Override[]
  /** Why this server could not verify the release itself. */
  unverified?: string
}

export interface Plan {
  install: { id: string; version: string; size: number; because: string }[]
  permissions: { added: Permission[]; removed: Permission[]; kept: Permission[] }
  config_schema?: JSONSchema
  /** As it is now, without its secrets. */
  config?: Record<string, unknown>
  secrets_set: string[]
  /** Settings that this version added or dropped. */
  changes: string[]
  /** Why it cannot be installed; empty when it can. */
  conflicts: string[]
  /** It asks for more than was granted so far. */
  needs_human: boolean
  version: string
  /** The version that is there now. */
  from?: string
  /** "server", "agents", "group:NAME" or the id of an agent. */
  node: string
}

export interface InstallWish {
  version?: string
  node?: string
  grants?: string[] | 'all'
  config?: Record<string, unknown>
  secrets?: Record<string, string>
  runtime?: string
  interval?: string
}

export interface InstallStep {
  name: string
  state: 'waiting' | 'running' | 'done' | 'failed' | 'skipped' | 'rolled back'
  done: number
  total: number
  text?: string
}

export interface InstallJob {
  id: string
  plugin: string
  version: string
  node: string
  state: 'running' | 'done' | 'failed' | 'rollback failed'
  steps: InstallStep[]
  error?: string
  /** What was taken back after a failure. */
  undone: string[]
}

export interface Review {
  node: string
  version: string
  stars: number
  text: string
  time: string
}

export interface Publisher {
  namespace: string
  via: string
  contact?: string
  keys: { id: string; since?: string }[]
  plugins: Hit[]
}

export interface PublishJob {
  id: string
  state: 'reading' | 'checking' | 'published' | 'refused'
  gates: Gate[]
  problem?: string
  plugin?: string
  version?: string
}

export interface FleetNode {
  id: string
  name: string
  type: 'server' | 'agent'
  group?: string
  os?: string
  arch?: string
  /** When it last had fresh signatures: a revocation reaches it with the next. */
  refreshed?: string
}

export interface FleetUser {
  id: string
  name: string
  state: string
  reason?: string
}

export interface FleetVersion {
  version: string
  nodes: FleetUser[]
}

export interface UpdatePolicy {
  auto: 'off' | 'patch' | 'minor'
  cooldown_days: number
  group: string
  by?: string
  /** Why the newest version that fits is not taken. */
  waiting?: string
}

export interface FleetPlugin {
  id: string
  title: string
  kind: MarketKind
  /** Those that run somewhere, the newest first. */
  versions: FleetVersion[]
  wanted: string
  newest?: string
  policy: UpdatePolicy
  /** The rollout that is under way. */
  rollout?: string
  overrides: Override[]
}

export interface Fleet {
  plugins: FleetPlugin[]
  nodes: FleetNode[]
  /** "all" is every agent. */
  groups: string[]
}

export interface RolloutNode {
  id: string
  name: string
  from: string
  to: string
  canary: boolean
  state: 'waiting' | 'updating' | 'updated' | 'failed' | 'going back' | 'rolled back'
  reason?: string
}

export type RolloutState = 'canary' | 'waiting' | 'paused' | 'rolling' | 'halted' | 'done' | 'rolled back'

export interface Rollout {
  id: string
  plugin: string
  version: string
  group: string
  canary_percent: number
  soak: string
  max_failures: number
  state: RolloutState
  reason?: string
  by: string
  created: string
  /** When the rest follows, if the canaries go on to do well. */
  soak_ends?: string
  nodes: RolloutNode[]
}

export interface RolloutWish {
  plugin: string
  version: string
  group?: string
  canary_percent: number
  soak: string
  max_failures: number
  grants?: string[] | 'all'
}

const base = '/api/v1/market'
/** A plugin's id is two segments of a path. */
const at = (id: string) => id.split('/').map(encodeURIComponent).join('/')

export const pageSize = 50

export const front = queryOptions({
  queryKey: ['market', 'front'],
  queryFn: ({ signal }) => call<FrontAnswer>('GET', `${base}/front`, { signal }),
  staleTime: 60_000,
})

export const search = (filter: MarketFilter, page: number) =>
  queryOptions({
    queryKey: ['market', 'search', filter, page],
    queryFn: ({ signal }) => call<SearchAnswer>('GET', `${base}/plugins`, { signal, query: { ...filter, offset: (page - 1) * pageSize, limit: pageSize } }),
    staleTime: 30_000,
    // While somebody types, what was found before stays.
    placeholderData: keepPreviousData,
  })

export const marketPlugin = (id: string, version?: string) =>
  queryOptions({
    queryKey: ['market', 'plugin', id, version ?? ''],
    queryFn: ({ signal }) => call<MarketPlugin>('GET', `${base}/plugins/${at(id)}`, { signal, query: { version } }),
    staleTime: 30_000,
  })

export const reviews = (id: string) =>
  queryOptions({
    queryKey: ['market', 'reviews', id],
    queryFn: ({ signal }) => call<{ items: Review[] }>('GET', `${base}/plugins/${at(id)}/reviews`, { signal }),
  })

export const publisher = (ns: string) =>
  queryOptions({
    queryKey: ['market', 'publisher', ns],
    queryFn: ({ signal }) => call<Publisher>('GET', `${base}/publishers/${encodeURIComponent(ns)}`, { signal }),
    staleTime: 30_000,
  })

export const plan = (id: string, wish: { version?: string; node?: string }) =>
  queryOptions({
    queryKey: ['market', 'plan', id, wish.version ?? '', wish.node ?? ''],
    queryFn: ({ signal }) => call<Plan>('POST', `${base}/plugins/${at(id)}/plan`, { signal, body: wish }),
    staleTime: 10_000,
    retry: false,
  })

export const isInstallOver = (job: InstallJob | undefined): boolean => job !== undefined && job.state !== 'running'

export const installJob = (id: string) =>
  queryOptions({
    queryKey: ['market', 'install', id],
    queryFn: ({ signal }) => call<InstallJob>('GET', `${base}/installs/${encodeURIComponent(id)}`, { signal }),
    refetchInterval: (q) => (isInstallOver(q.state.data) ? false : 400),
  })

export const isPublishOver = (job: PublishJob | undefined): boolean => job?.state === 'published' || job?.state === 'refused'

export const publishJob = (id: string) =>
  queryOptions({
    queryKey: ['market', 'publish', id],
    queryFn: ({ signal }) => call<PublishJob>('GET', `${base}/publish/${encodeURIComponent(id)}`, { signal }),
    refetchInterval: (q) => (isPublishOver(q.state.data) ? false : 700),
  })

export const fleet = queryOptions({
  queryKey: ['fleet'],
  queryFn: ({ signal }) => call<Fleet>('GET', '/api/v1/fleet', { signal }),
})

export const rollouts = queryOptions({
  queryKey: ['fleet', 'rollouts'],
  queryFn: ({ signal }) => call<{ items: Rollout[] }>('GET', '/api/v1/fleet/rollouts', { signal }),
  refetchInterval: (q) => (q.state.data?.items.some((r) => !isRolloutOver(r)) ? 2000 : false),
})

/** A halted one still brings its machines back. */
export const isRolloutOver = (r: Pick<Rollout, 'state'>): boolean => r.state === 'done' || r.state === 'rolled back'

export const updatePolicy = (id: string) =>
  queryOptions({
    queryKey: ['plugins', id, 'updates'],
    queryFn: ({ signal }) => call<UpdatePolicy>('GET', `/api/v1/plugins/${at(id)}/updates`, { signal }),
  })

export const market = {
  install: (id: string, wish: InstallWish) => call<{ id: string }>('POST', `${base}/plugins/${at(id)}/install`, { body: wish }),
  review: (id: string, stars: number, text: string) => call<unknown>('POST', `${base}/plugins/${at(id)}/review`, { body: { stars, text } }),
  report: (id: string, version: string, reason: ReportReason, text: string) => call<unknown>('POST', `${base}/plugins/${at(id)}/report`, { body: { version, reason, text } }),
  publish: (archive: File, onProgress: (fraction: number) => void, signal: AbortSignal) => upload<{ job: string }>(`${base}/publish`, archive, onProgress, signal, 'raw'),
}

export const reportReasons = ['malicious', 'deceptive', 'broken', 'licence', 'other'] as const
export type ReportReason = (typeof reportReasons)[number]

export const rollout = {
  start: (wish: RolloutWish) => call<Rollout>('POST', '/api/v1/fleet/rollouts', { body: wish }),
  act: (id: string, deed: RolloutDeed, grants?: 'all') => call<Rollout>('POST', `/api/v1/fleet/rollouts/${encodeURIComponent(id)}/${deed}`, { body: grants ? { grants } : {} }),
}
export type RolloutDeed = 'pause' | 'resume' | 'halt' | 'finish'

export const fleetActions = {
  policy: (id: string, policy: Pick<UpdatePolicy, 'auto' | 'cooldown_days' | 'group'>) => call<unknown>('PUT', `/api/v1/plugins/${at(id)}/updates`, { body: policy }),
  group: (agent: string, group: string) => call<unknown>('PUT', `/api/v1/agents/${encodeURIComponent(agent)}/group`, { body: { group } }),
  override: (id: string, version: string, reason: string, node?: string) => call<unknown>('POST', `/api/v1/plugins/${at(id)}/override-revocation`, { body: { version, reason, node } }),
  endOverride: (id: string, version: string) => call<unknown>('DELETE', `/api/v1/plugins/${at(id)}/override-revocation`, { query: { version } }),
}
