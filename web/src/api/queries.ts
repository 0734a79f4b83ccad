// What the pages ask for, each as a TanStack Query: the first part of a key is the topic that makes it stale.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { AlertDetail, Alert, Plugin, PluginInstance } from './types'

export const me = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/me', { signal })),
  staleTime: 5 * 60_000,
  retry: false,
})

export const setup = queryOptions({
  queryKey: ['setup'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/setup', { signal })),
})

export const overview = queryOptions({
  queryKey: ['overview'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/overview', { signal })),
})

interface Slice {
  cursor?: string
  limit: number
}

interface Listed<T> {
  items: T[]
  next_cursor?: string
}

/** A list that grows by cursor; `select` flattens it for the page. */
function list<T>(key: unknown[], read: (slice: Slice, signal: AbortSignal) => Promise<Listed<T>>) {
  return infiniteQueryOptions({
    queryKey: [key[0], 'list', ...key.slice(1)],
    queryFn: ({ signal, pageParam }) => read({ cursor: pageParam || undefined, limit: 50 }, signal),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
  })
}

export interface AlertFilter {
  state?: Alert['state']
  severity?: Alert['severity']
  capture?: string
  detector?: string
  technique?: string
  entity?: string
  since?: Since
}

/** How far back alerts are looked at. */
export const sinceDays = { day: 1, week: 7, month: 30 } as const
export type Since = keyof typeof sinceDays

const fromOf = (since: Since | undefined): string | undefined => since && new Date(Date.now() - sinceDays[since] * 86_400_000).toISOString()

export const alerts = ({ since, ...filter }: AlertFilter = {}) =>
  list(['alerts', filter, since ?? ''], (slice, signal) => answer(api.GET('/api/v1/alerts', { params: { query: { ...slice, limit: 200, ...filter, from: fromOf(since) } }, signal })))

/** How many alerts name each technique. */
export const techniqueCounts = (since: Since | undefined) =>
  queryOptions({
    queryKey: ['alerts', 'techniques', since ?? ''],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/alerts/techniques', { params: { query: { from: fromOf(since) } }, signal })),
  })

export const captures = list(['captures'], (query, signal) => answer(api.GET('/api/v1/captures', { params: { query }, signal })))
export const deviceSorts = ['latest', 'name', 'newest'] as const
export type DeviceSort = (typeof deviceSorts)[number]
export const devices = (text: string, sort: DeviceSort) =>
  list(['devices', 'list', text, sort], (slice, signal) => answer(api.GET('/api/v1/devices', { params: { query: { ...slice, text: text || undefined, sort } }, signal })))
export const agents = list(['agents'], (query, signal) => answer(api.GET('/api/v1/agents', { params: { query }, signal })))
export const plugins = list(['plugins'], (_, signal) => answer(api.GET('/api/v1/plugins', { signal })) as Promise<Listed<Plugin>>)

export const alert = (id: string) =>
  queryOptions({
    queryKey: ['alerts', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/alerts/{id}', { params: { path: { id } }, signal })) as Promise<AlertDetail>,
  })

export const capture = (id: string) =>
  queryOptions({
    queryKey: ['captures', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/captures/{id}', { params: { path: { id } }, signal })),
  })

export const device = (id: string) =>
  queryOptions({
    queryKey: ['devices', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/devices/{id}', { params: { path: { id } }, signal })),
  })

export const deviceHistory = (id: string) =>
  queryOptions({
    queryKey: ['devices', id, 'history'],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/devices/{id}/history', { params: { path: { id } }, signal })),
  })

export const agent = (id: string) =>
  queryOptions({
    queryKey: ['agents', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/{id}', { params: { path: { id } }, signal })),
  })

/** What is said for a machine by itself, its groups and all machines, and what of it counts. */
export const agentConfig = (id: string) =>
  queryOptions({
    queryKey: ['agents', id, 'config'],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/config/{target}', { params: { path: { target: id } }, signal })),
  })

/** Some machines, those first that report. */
export const reportingFirst = queryOptions({
  queryKey: ['agents', 'reporting'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/agents', { params: { query: { sort: '-state', limit: 100, brief: true } }, signal })),
})

export const agentCommands = (id: string) =>
  queryOptions({
    queryKey: ['agents', id, 'commands'],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/{id}/commands', { params: { path: { id } }, signal })),
  })

/** Which metrics there are, with their units and kinds. */
export const metricNames = queryOptions({
  queryKey: ['metrics', 'names'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/metrics/names', { signal })),
  staleTime: 60_000,
})

export const plugin = (id: string) =>
  queryOptions({
    queryKey: ['plugins', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/plugins/{ns}/{name}', { params: { path: pluginPath(id) }, signal })) as Promise<Plugin>,
  })

/** One instance is named by its own name and its node: the same name runs on every agent. */
const instanceQuery = (i: PluginInstance) => ({ params: { path: pluginPath(i.plugin), query: { instance: i.instance, node: i.node.id } } })

export const instanceHistory = (i: PluginInstance) =>
  queryOptions({
    queryKey: ['plugins', i.plugin, 'history', i.instance, i.node.id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/plugins/{ns}/{name}/history', { ...instanceQuery(i), signal })),
  })

export const explanation = (i: PluginInstance) =>
  queryOptions({
    queryKey: ['plugins', i.plugin, 'explain', i.instance, i.node.id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/plugins/{ns}/{name}/explain', { ...instanceQuery(i), signal })),
  })

/** The namespace and the name are two segments of the path. */
export function pluginPath(id: string): { ns: string; name: string } {
  const [ns = '', name = ''] = id.split('/')
  return { ns, name }
}
