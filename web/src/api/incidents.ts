// What the pages of incidents and suppressions ask for and change.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import { sinceDays, type Since } from './queries'
import type { IncidentDetail, IncidentState, Scope, Severity, Verdict } from './types'

export const incidentSorts = ['risk', 'latest', 'newest'] as const
export type IncidentSort = (typeof incidentSorts)[number]

export interface IncidentFilter {
  state?: IncidentState
  severity?: Severity
  host?: string
  technique?: string
  since?: Since
}

export const incidents = ({ since, ...filter }: IncidentFilter, sort: IncidentSort) =>
  infiniteQueryOptions({
    queryKey: ['incidents', 'list', filter, since ?? '', sort],
    queryFn: ({ signal, pageParam }) =>
      answer(api.GET('/api/v1/incidents', {
        params: { query: { ...filter, sort: sort === 'newest' ? undefined : sort, from: since && new Date(Date.now() - sinceDays[since] * 86_400_000).toISOString(), cursor: pageParam || undefined, limit: 100 } },
        signal,
      })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
  })

export const incident = (id: string) =>
  queryOptions({
    queryKey: ['incidents', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/incidents/{id}', { params: { path: { id } }, signal })) as Promise<IncidentDetail>,
  })

/** Who may look after an incident. */
export const owners = queryOptions({
  queryKey: ['incidents', 'owners'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/incidents/owners', { signal })),
  staleTime: 60_000,
})

export const suppressions = queryOptions({
  queryKey: ['suppressions'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/suppressions', { signal })),
})

export const suppressed = (id: string) =>
  queryOptions({
    queryKey: ['suppressions', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/suppressions/{id}/findings', { params: { path: { id } }, signal })),
  })

/** What a suppression would have kept back. */
export const suppressionPreview = (scope: Scope) =>
  queryOptions({
    queryKey: ['alerts', 'suppressed', scope],
    queryFn: ({ signal }) => answer(api.POST('/api/v1/suppressions/preview', { body: scope, signal })),
    retry: false,
  })

export const warningLists = queryOptions({
  queryKey: ['warninglists'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/warninglists', { signal })),
})

const of = (id: string) => ({ params: { path: { id } } })

export const incidentDeed = {
  acknowledge: (id: string) => answer(api.POST('/api/v1/incidents/{id}/acknowledge', of(id))),
  close: (id: string) => answer(api.POST('/api/v1/incidents/{id}/close', of(id))),
  reopen: (id: string) => answer(api.POST('/api/v1/incidents/{id}/reopen', of(id))),
  assign: (id: string, owner: string) => answer(api.POST('/api/v1/incidents/{id}/assign', { ...of(id), body: { owner } })),
  note: (id: string, text: string) => answer(api.POST('/api/v1/incidents/{id}/notes', { ...of(id), body: { text } })),
}

export const judge = {
  incident: (id: string, verdict: Verdict, note: string) => answer(api.POST('/api/v1/incidents/{id}/feedback', { ...of(id), body: { verdict, note: note || undefined } })),
  alert: (id: string, verdict: Verdict, note: string) => answer(api.POST('/api/v1/alerts/{id}/feedback', { ...of(id), body: { verdict, note: note || undefined } })),
  takeBack: (id: string) => answer(api.DELETE('/api/v1/feedback/{id}', of(id))),
}

export const suppress = {
  add: (scope: Scope, reason: string, expires: Date) => answer(api.POST('/api/v1/suppressions', { body: { ...scope, reason, expires: expires.toISOString() } })),
  revoke: (id: string) => answer(api.DELETE('/api/v1/suppressions/{id}', of(id))),
}
