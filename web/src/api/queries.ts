// What the pages ask for, each as a TanStack Query: the first part of a key is the topic that makes it stale.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { request } from './http'
import type {
  Agent,
  AgentCommand,
  Alert,
  AlertDetail,
  AuditEntry,
  Capture,
  Device,
  Me,
  Overview,
  Page,
  Plugin,
  Token,
} from './types'

export const me = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }) => request<Me>('GET', '/api/v1/me', { signal }),
  staleTime: 5 * 60_000,
  retry: false,
})

export const setup = queryOptions({
  queryKey: ['setup'],
  queryFn: ({ signal }) => request<{ needed: boolean }>('GET', '/api/v1/setup', { signal }),
})

export const overview = queryOptions({
  queryKey: ['overview'],
  queryFn: ({ signal }) => request<Overview>('GET', '/api/v1/overview', { signal }),
})

/** A list that grows by cursor; `select` flattens it for the page. */
function list<T>(key: string, path: string, query: Record<string, string> = {}) {
  return infiniteQueryOptions({
    queryKey: [key, 'list', query],
    queryFn: ({ signal, pageParam }) =>
      request<Page<T>>('GET', path, { query: { ...query, cursor: pageParam, limit: 50 }, signal }),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items ?? []),
  })
}

export interface AlertFilter {
  state?: string
  severity?: string
  capture?: string
}

export const alerts = (filter: AlertFilter = {}) => list<Alert>('alerts', '/api/v1/alerts', { ...filter })
export const captures = list<Capture>('captures', '/api/v1/captures')
export const devices = list<Device>('devices', '/api/v1/devices')
export const agents = list<Agent>('agents', '/api/v1/agents')
export const plugins = list<Plugin>('plugins', '/api/v1/plugins')
export const tokens = list<Token>('tokens', '/api/v1/tokens')
export const audit = list<AuditEntry>('audit', '/api/v1/audit')

function one<T>(key: string, path: string) {
  return queryOptions({
    queryKey: [key, 'one', path],
    queryFn: ({ signal }) => request<T>('GET', path, { signal }),
  })
}

const segment = encodeURIComponent

export const alert = (id: string) => one<AlertDetail>('alerts', `/api/v1/alerts/${segment(id)}`)
export const capture = (id: string) => one<Capture>('captures', `/api/v1/captures/${segment(id)}`)
export const device = (id: string) => one<Device>('devices', `/api/v1/devices/${segment(id)}`)
export const agent = (id: string) => one<Agent>('agents', `/api/v1/agents/${segment(id)}`)
export const agentCommands = (id: string) =>
  one<Page<AgentCommand>>('agents', `/api/v1/agents/${segment(id)}/commands`)
export const plugin = (id: string) => one<Plugin>('plugins', pluginPath(id))

/** The namespace and the name are two segments of the path. */
export function pluginPath(id: string): string {
  return `/api/v1/plugins/${id.split('/').map(segment).join('/')}`
}
