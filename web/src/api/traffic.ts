// What the pages of captures and flows ask for and change.
import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query'
import { standardSort, type FlowFilter, type FlowSort } from '../lib/flowFilter'
import { answer, api, csrfToken, problemFrom } from './http'
import type { components } from './schema'

type S = components['schemas']

export type Flow = S['Flow']
// The description leaves out what a shape takes over from another one.
export type FlowDetail = Flow & S['FlowDetail']
export interface FlowCount {
  flows: number
  packets: number
  bytes: number
}
type Counted<T> = (T & FlowCount)[]
export type FlowSummary = FlowCount & Omit<S['FlowSummary'], 'apps' | 'protos' | 'talkers' | 'ports' | 'times'> & {
  apps: Counted<S['AppCount']>
  protos: Counted<S['ProtoCount']>
  talkers: Counted<S['Talker']>
  ports: Counted<S['PortCount']>
  times: Counted<S['FlowTime']>
}
export type Feature = S['Feature']
export type TrafficFact = S['FlowFact']
export type FactKind = TrafficFact['kind']
export type View = S['View']
export type DecodedPacket = S['DecodedPacket']
export type DecodedLayer = S['DecodedLayer']

/** The parameters of the API for a filter; the address of the page has the same names. */
export function flowQuery({ capture, app, proto, tunnel, end_reason, from, to, min_duration, ...rest }: FlowFilter) {
  const one = (value: string | undefined) => (value === undefined ? undefined : [value])
  return {
    ...rest,
    capture: one(capture),
    app: one(app),
    proto: one(proto),
    tunnel: one(tunnel),
    end_reason: one(end_reason),
    from: from === undefined ? undefined : new Date(from).toISOString(),
    to: to === undefined ? undefined : new Date(to).toISOString(),
    min_duration: min_duration === undefined ? undefined : `${min_duration}s`,
  }
}

const pageSize = 200

export const flows = (filter: FlowFilter, sort: FlowSort = standardSort) =>
  infiniteQueryOptions({
    queryKey: ['flows', 'list', filter, sort],
    queryFn: ({ signal, pageParam }) => {
      const order = { sort: sort.replace('-', '') as 'start', order: sort.startsWith('-') ? ('desc' as const) : ('asc' as const) }
      return answer(api.GET('/api/v1/flows', { params: { query: { ...flowQuery(filter), ...order, cursor: pageParam || undefined, limit: pageSize } }, signal }))
    },
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    placeholderData: keepPreviousData,
    // Reading every page again because the window has the focus would cost more than it tells.
    refetchOnWindowFocus: false,
    staleTime: 60_000,
  })

export const flowSummary = (filter: FlowFilter) =>
  queryOptions({
    queryKey: ['flows', 'summary', filter],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/flows/summary', { params: { query: flowQuery(filter) }, signal })) as Promise<FlowSummary>,
    placeholderData: keepPreviousData,
    refetchOnWindowFocus: false,
    staleTime: 60_000,
  })

export const flow = (capture: string, id: number) =>
  queryOptions({
    queryKey: ['flows', 'one', capture, id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/flows/{capture}/{id}', { params: { path: { capture, id } }, signal })) as Promise<FlowDetail>,
    staleTime: 60_000,
  })

/** All facts of one kind that a flow has. */
export const flowFacts = (capture: string, id: number, kind: FactKind) =>
  infiniteQueryOptions({
    queryKey: ['flows', 'facts', capture, id, kind],
    queryFn: ({ signal, pageParam }) =>
      answer(api.GET('/api/v1/facts', { params: { query: { kind, capture: [capture], flow: id, cursor: pageParam || undefined, limit: 100 } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
    staleTime: 60_000,
  })

export const flowPackets = (capture: string, id: number) =>
  infiniteQueryOptions({
    queryKey: ['packets', capture, id],
    queryFn: ({ signal, pageParam }) =>
      answer(api.GET('/api/v1/captures/{id}/flows/{flow}/packets', { params: { path: { id: capture, flow: id }, query: { after: pageParam || undefined, limit: 50 } }, signal })),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
    // The packets of a stored capture never change.
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  })

/** The first facts of one kind that a capture has, whether they belong to a flow or not. */
export const captureFacts = (capture: string, kind: FactKind) =>
  queryOptions({
    queryKey: ['captures', capture, 'facts', kind],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/facts', { params: { query: { kind, capture: [capture], limit: 100 } }, signal })),
    staleTime: 60_000,
  })

/** Packets that an agent kept for a finding of an alert: of a flow, by number, or all. */
export const keptPackets = (alert: string, finding: string, only: { flow?: number; numbers?: readonly number[] }) =>
  infiniteQueryOptions({
    queryKey: ['packets', 'kept', alert, finding, only.flow ?? 0, ...(only.numbers ?? [])],
    queryFn: ({ signal, pageParam }) =>
      answer(api.GET('/api/v1/alerts/{id}/findings/{finding}/packets', {
        params: { path: { id: alert, finding }, query: { flow: only.flow, numbers: only.numbers?.length ? [...only.numbers] : undefined, after: pageParam || undefined, limit: 50 } },
        querySerializer: { array: { style: 'form', explode: false } },
        signal,
      })),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
    refetchOnWindowFocus: false,
  })

/** Packets of a capture by number. */
export const numberedPackets = (capture: string, numbers: readonly number[]) =>
  infiniteQueryOptions({
    queryKey: ['packets', capture, 'numbers', ...numbers],
    queryFn: ({ signal, pageParam }) =>
      answer(api.GET('/api/v1/captures/{id}/packets', {
        params: { path: { id: capture }, query: { numbers: [...numbers], after: pageParam || undefined, limit: 50 } },
        querySerializer: { array: { style: 'form', explode: false } },
        signal,
      })),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  })

export const views = queryOptions({
  queryKey: ['views'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/views', { signal })),
})

/** The pages that have views. */
export type ViewsOf = 'flows' | 'machines'

export const saveView = (page: ViewsOf, name: string, query: string, shared: boolean) => answer(api.POST('/api/v1/views', { body: { name, page, query, shared } }))
export const removeView = (id: string) => answer(api.DELETE('/api/v1/views/{id}', { params: { path: { id } } }))

/** A device as it is named beside its addresses. */
export interface Named {
  id: string
  name: string
}

const namesPerPage = 500
const namePages = 4

/** The names that devices are known by, by address: of the first two thousand devices, which come in one answer each five hundred. */
export const deviceNames = queryOptions({
  queryKey: ['devices', 'names'],
  queryFn: async ({ signal }) => {
    const names = new Map<string, Named>()
    let cursor: string | undefined
    for (let page = 0; page < namePages; page++) {
      const { items, next_cursor } = await answer(api.GET('/api/v1/devices', { params: { query: { limit: namesPerPage, cursor } }, signal }))
      for (const d of items) {
        const name = d.hostnames?.[0] ?? d.vendor
        if (name) for (const ip of d.ips ?? []) names.set(ip, { id: d.id, name })
      }
      cursor = next_cursor
      if (!cursor) break
    }
    return names
  },
  staleTime: 60_000,
})

const path = (id: string) => ({ params: { path: { id } } })

export const captureDeed = {
  cancel: (id: string) => answer(api.POST('/api/v1/captures/{id}/cancel', path(id))),
  resume: (id: string) => answer(api.POST('/api/v1/captures/{id}/resume', path(id))),
  analyse: (id: string) => answer(api.POST('/api/v1/captures/{id}/analyse', path(id))),
  first: (id: string) => answer(api.POST('/api/v1/captures/{id}/first', path(id))),
  delete: (id: string) => answer(api.DELETE('/api/v1/captures/{id}', path(id))),
}

/** What the columns of exported flows are. */
export const flowColumns = queryOptions({
  queryKey: ['flows', 'columns'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/flows/columns', { signal })),
  staleTime: Infinity,
})

/** Formats of an export, with the ending of the file. */
export const exportFormats = { csv: 'csv', json: 'jsonl', parquet: 'parquet' } as const
export type ExportFormat = keyof typeof exportFormats

/** Has the server write a file of flows and hands it to the browser. */
export async function exportFlows(filter: FlowFilter, format: ExportFormat, features: boolean): Promise<void> {
  const query = new URLSearchParams({ format, ...(features && { features: 'true' }) })
  for (const [key, value] of Object.entries(flowQuery(filter))) if (value !== undefined) query.set(key, String(value))
  const reply = await fetch(`/api/v1/flows/export?${query}`, { method: 'POST', headers: { 'X-Picket-CSRF': csrfToken() } })
  if (!reply.ok) throw problemFrom(reply.status, reply.statusText, await reply.text())
  const url = URL.createObjectURL(await reply.blob())
  const link = document.createElement('a')
  link.href = url
  link.download = `flows.${exportFormats[format]}`
  link.click()
  // The browser reads it on its own time; a second is not enough for a large file.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
