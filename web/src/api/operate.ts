// Exploring, the server's own health, its settings: what their pages ask for and change.
import { queryOptions } from '@tanstack/react-query'
import { linesOf, type Labelled } from '../lib/promql'
import { answer, api, ApiError, csrfToken } from './http'
import type { components } from './schema'

type S = components['schemas']
export type System = S['System']
export type SqlTables = S['SqlTables']
export type SqlAnswer = S['SqlAnswer']
export type Kept = S['Kept']
export type KeptNow = S['KeptNow']
export type Backup = S['Backup']
export type BackupOrder = S['BackupOrder']
export type RateLimits = S['RateLimits']
export type Site = S['Site']

/** As many series as one chart takes. */
export const mostSeries = 1000

interface Said {
  status: string
  data?: { resultType: string; result: unknown }
  error?: string
  warnings?: string[]
  infos?: string[]
}

export interface RangeAnswer {
  lines: Labelled[]
  notes: string[]
}

/** Prometheus's own API, which is not in our description of ours. Times are Unix milliseconds, the step is seconds. */
export async function queryRange(query: string, from: number, to: number, step: number, signal: AbortSignal): Promise<RangeAnswer> {
  const body = new URLSearchParams({ query, start: String(from / 1000), end: String(to / 1000), step: String(step), limit: String(mostSeries) })
  let reply: Response
  try {
    reply = await fetch('/prometheus/api/v1/query_range', { method: 'POST', body, signal, headers: { 'X-Picket-CSRF': csrfToken() } })
  } catch (error) {
    if (signal.aborted) throw error
    throw new ApiError(0, '', '')
  }
  const said = (await reply.json().catch(() => ({ status: 'error' }))) as Said & { detail?: string }
  if (!reply.ok || !said.data) throw new ApiError(reply.status, reply.statusText, said.error ?? said.detail ?? '')
  return { lines: linesOf(said.data), notes: [...(said.warnings ?? []), ...(said.infos ?? [])] }
}

async function listOf(path: string, signal: AbortSignal): Promise<string[]> {
  const reply = await fetch(`/prometheus/api/v1/${path}`, { signal })
  const said = (await reply.json()) as { data?: string[] }
  return said.data ?? []
}

export const metricNames = queryOptions({
  queryKey: ['prometheus', 'names'],
  queryFn: ({ signal }) => listOf('label/__name__/values?limit=10000', signal),
  staleTime: 60_000,
})
export const labelNames = (metric: string) => queryOptions({
  queryKey: ['prometheus', 'labels', metric],
  queryFn: async ({ signal }) => (await listOf(`labels?limit=200&match[]=${encodeURIComponent(`{__name__=${JSON.stringify(metric)}}`)}`, signal)).filter((l) => l !== '__name__'),
  enabled: metric !== '',
  staleTime: 60_000,
})
export const labelValues = (metric: string, label: string) => queryOptions({
  queryKey: ['prometheus', 'values', metric, label],
  queryFn: ({ signal }) => listOf(`label/${encodeURIComponent(label)}/values?limit=500&match[]=${encodeURIComponent(`{__name__=${JSON.stringify(metric)}}`)}`, signal),
  enabled: metric !== '' && label !== '',
  staleTime: 60_000,
})

export const sqlTables = queryOptions({ queryKey: ['sql', 'tables'], queryFn: ({ signal }) => answer(api.GET('/api/v1/admin/sql', { signal })), staleTime: Infinity })
export const runSql = (sql: string, seconds: number) => {
  const to = new Date()
  return answer(api.POST('/api/v1/admin/sql', { body: { sql, from: new Date(to.getTime() - seconds * 1000).toISOString(), to: to.toISOString() } }))
}

export const system = queryOptions({ queryKey: ['system'], queryFn: ({ signal }) => answer(api.GET('/api/v1/admin/system', { signal })), refetchInterval: 30_000 })

export const backups = queryOptions({
  queryKey: ['backups'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/admin/backups', { signal })),
  refetchInterval: (q) => (q.state.data?.items.some((b) => b.state === 'running') ? 1000 : false),
})
export const retention = queryOptions({ queryKey: ['retention'], queryFn: ({ signal }) => answer(api.GET('/api/v1/admin/retention', { signal })) })
export const retentionPreview = (days: Record<string, number>) => queryOptions({
  queryKey: ['retention', 'preview', days],
  queryFn: ({ signal }) => answer(api.POST('/api/v1/admin/retention/preview', { body: { days }, signal })),
  placeholderData: (old) => old,
})
export const rateLimits = queryOptions({ queryKey: ['rate-limits'], queryFn: ({ signal }) => answer(api.GET('/api/v1/settings/rate-limits', { signal })) })
export const fileSettings = queryOptions({ queryKey: ['file-settings'], queryFn: ({ signal }) => answer(api.GET('/api/v1/settings/file', { signal })) })
export const site = queryOptions({ queryKey: ['site'], queryFn: ({ signal }) => answer(api.GET('/api/v1/settings/site', { signal })) })

export const operate = {
  backup: (order: BackupOrder) => answer(api.POST('/api/v1/admin/backups', { body: order })),
  verify: (name: string, passphrase: string) => answer(api.POST('/api/v1/admin/backups/{name}/verify', { params: { path: { name } }, body: passphrase.startsWith('AGE-SECRET-KEY-') ? { key: passphrase } : passphrase ? { passphrase } : {} })),
  removeBackup: (name: string) => answer(api.DELETE('/api/v1/admin/backups/{name}', { params: { path: { name } } })),
  keep: (days: Record<string, number>) => answer(api.PUT('/api/v1/admin/retention', { body: { days } })),
  cleanUp: () => answer(api.POST('/api/v1/admin/retention/cleanup')),
  limit: (limits: RateLimits) => answer(api.PUT('/api/v1/settings/rate-limits', { body: limits })),
  site: (body: Site) => answer(api.PUT('/api/v1/settings/site', { body })),
}
