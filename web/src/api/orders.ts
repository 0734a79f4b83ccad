// Orders to machines: what can be asked for, what was, and what became of it.
import { queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { components } from './schema'

export type Order = components['schemas']['Order']
export type OrderCommand = components['schemas']['AgentCommand']
export type CommandType = components['schemas']['CommandType']

export const commandTypes = queryOptions({
  queryKey: ['commands', 'types'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/commands/types', { signal })),
  staleTime: Infinity,
})

export const orders = queryOptions({
  queryKey: ['agents', 'orders'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/commands', { params: { query: { limit: 100 } }, signal })),
})

export const order = (id: string) =>
  queryOptions({
    queryKey: ['agents', 'orders', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/commands/{id}', { params: { path: { id } }, signal })),
  })

export const orderMachines = (id: string) =>
  queryOptions({
    queryKey: ['agents', 'orders', id, 'machines'],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/commands/{id}/machines', { params: { path: { id }, query: { limit: 500 } }, signal })),
  })

const path = (id: string) => ({ params: { path: { id } } })

export const act = {
  send: (body: { type: string; args?: unknown; agents?: string[]; group?: string }) => answer(api.POST('/api/v1/commands', { body })),
  approve: (id: string) => answer(api.POST('/api/v1/commands/{id}/approve', path(id))),
  deny: (id: string) => answer(api.POST('/api/v1/commands/{id}/deny', path(id))),
  cancel: (id: string) => answer(api.POST('/api/v1/commands/{id}/cancel', path(id))),
  /** What a command printed from a place on; waits for more. */
  output: (c: OrderCommand, from: number, signal: AbortSignal) =>
    answer(api.GET('/api/v1/agents/{id}/commands/{command}/output', { params: { path: { id: c.agent, command: c.id }, query: { from, wait: '20s' } }, signal })),
}
