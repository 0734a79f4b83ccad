// Who shares the server: what its pages ask and change.
import { queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { components } from './schema'

export type Tenant = components['schemas']['Tenant']
export type Quotas = components['schemas']['Quotas']

const at = (id: string) => ({ params: { path: { id } } })

export const tenants = queryOptions({ queryKey: ['tenants'], queryFn: ({ signal }) => answer(api.GET('/api/v1/tenants', { signal })) })
export const tenant = (id: string) => queryOptions({ queryKey: ['tenants', id], queryFn: ({ signal }) => answer(api.GET('/api/v1/tenants/{id}', { ...at(id), signal })) })
export const ownTenant = queryOptions({ queryKey: ['tenants', 'own'], queryFn: ({ signal }) => answer(api.GET('/api/v1/tenant', { signal })) })

export const act = {
  create: (name: string) => answer(api.POST('/api/v1/tenants', { body: { name } })),
  quotas: (id: string, body: Quotas) => answer(api.PUT('/api/v1/tenants/{id}/quotas', { ...at(id), body })),
  suspend: (id: string) => answer(api.POST('/api/v1/tenants/{id}/suspend', at(id))),
  resume: (id: string) => answer(api.POST('/api/v1/tenants/{id}/resume', at(id))),
  remove: (id: string) => answer(api.DELETE('/api/v1/tenants/{id}', at(id))),
  invite: (id: string, username: string) => answer(api.POST('/api/v1/tenants/{id}/administrators', { ...at(id), body: { username } })),
}
