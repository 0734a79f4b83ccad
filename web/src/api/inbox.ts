// What people are told on the pages, and what notifiers were told.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { components } from './schema'
import type { Notice, Severity } from './types'

type S = components['schemas']
export type InboxNotice = S['InboxNotice']
// The description leaves out what a shape takes over from another one.
export type Delivery = Notice & S['Delivery']
export type DeliveryState = Notice['state']
export const deliveryStates = ['queued', 'failed', 'dead', 'delivered'] as const

export const unread = queryOptions({
  queryKey: ['inbox', 'unread'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/inbox/unread', { signal })),
})

export interface InboxFilter {
  unread?: boolean
  severity?: Severity
}

export const inbox = (filter: InboxFilter) =>
  infiniteQueryOptions({
    queryKey: ['inbox', 'list', filter],
    queryFn: ({ signal, pageParam }) => answer(api.GET('/api/v1/inbox', { params: { query: { ...filter, cursor: pageParam || undefined } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
  })

/** Without ids, all. */
export const markInbox = (read: boolean, ids?: string[]) => answer(api.POST('/api/v1/inbox/read', { body: { read, ids } }))

export const deliveries = (state: DeliveryState | undefined) =>
  infiniteQueryOptions({
    queryKey: ['deliveries', state ?? ''],
    queryFn: ({ signal, pageParam }) => answer(api.GET('/api/v1/deliveries', { params: { query: { state, cursor: pageParam || undefined } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items) as Delivery[],
  })

export const sendAgain = (id: string) => answer(api.POST('/api/v1/deliveries/{id}/again', { params: { path: { id } } }))
