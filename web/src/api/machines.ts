// The list of machines: read in parts, wherever somebody scrolls to.
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { machineQuery, machineViewQuery, type MachineAddress } from '../lib/machineFilter'
import { answer, api } from './http'
import type { components } from './schema'

type S = components['schemas']
export type AgentRelease = S['AgentRelease']
export type AddingProgress = S['Progress']
export type Counted = S['Counted']

export const partSize = 100

export const machinePart = (address: MachineAddress, part: number) =>
  queryOptions({
    queryKey: ['agents', 'part', machineViewQuery(address), part],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/agents', { params: { query: { ...machineQuery(address), limit: partSize, offset: part * partSize, brief: true } }, signal })),
  })

/** Sorting changes nothing in it. */
export const machineSummary = (address: MachineAddress) =>
  queryOptions({
    queryKey: ['agents', 'summary', machineViewQuery({ ...address, sort: undefined })],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/summary', { params: { query: { ...machineQuery(address), sort: undefined } }, signal })),
    placeholderData: keepPreviousData,
  })

export const machineIDs = (address: MachineAddress) => answer(api.GET('/api/v1/agents/ids', { params: { query: machineQuery(address) } }))

/** Where the browser fetches the list as a file. */
export const machineFile = (address: MachineAddress, format: 'csv' | 'json'): string => `/api/v1/agents/export?${machineViewQuery(address)}${machineViewQuery(address) && '&'}format=${format}`

export const releases = queryOptions({
  queryKey: ['agents', 'releases'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/releases', { signal })),
  retry: false,
})

/** How far the machine is that a token was made for; asked until its first sample is there. */
export const addingProgress = (token: string) =>
  queryOptions({
    queryKey: ['adding', token],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/tokens/{id}/progress', { params: { path: { id: token } }, signal })),
    refetchInterval: (query) => (query.state.data?.state === 'measuring' || query.state.data?.state === 'ended' ? false : 2000),
  })

export const many = {
  group: (ids: string[], group: string) => answer(api.POST('/api/v1/agents/many/group', { body: { ids, group } })),
  labels: (ids: string[], set: Record<string, string>, remove: string[]) => answer(api.POST('/api/v1/agents/many/labels', { body: { ids, set, remove } })),
  consequences: (ids: string[]) => answer(api.POST('/api/v1/agents/many/consequences', { body: { ids } })),
  remove: (ids: string[]) => answer(api.POST('/api/v1/agents/many/remove', { body: { ids } })),
}
