// People, their factors, sessions and tokens, and the audit log: what the pages ask and change.
import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { components } from './schema'
import type { NewToken, Role } from './types'

type S = components['schemas']
export type Factor = S['Factor']
export type Session = S['Session']
export type User = S['User']
export type Policy = S['Policy']
export type RoleTable = S['Roles']
export type AuditEntry = S['Audit']
/** What must follow a right password. */
export type FactorNeeded = S['FactorNeeded']

const at = (id: string) => ({ params: { path: { id } } })

export const ways = queryOptions({ queryKey: ['ways'], queryFn: ({ signal }) => answer(api.GET('/api/v1/signin/ways', { signal })), staleTime: 60_000 })
export const factors = queryOptions({ queryKey: ['factors'], queryFn: ({ signal }) => answer(api.GET('/api/v1/me/factors', { signal })) })
export const ownSessions = queryOptions({ queryKey: ['sessions', 'own'], queryFn: ({ signal }) => answer(api.GET('/api/v1/me/sessions', { signal })) })
export const users = queryOptions({ queryKey: ['users'], queryFn: ({ signal }) => answer(api.GET('/api/v1/users', { signal })) })
export const userSessions = (id: string) => queryOptions({ queryKey: ['sessions', id], queryFn: ({ signal }) => answer(api.GET('/api/v1/users/{id}/sessions', { ...at(id), signal })) })
export const roleTable = queryOptions({ queryKey: ['roles'], queryFn: ({ signal }) => answer(api.GET('/api/v1/roles', { signal })), staleTime: Infinity })
export const policy = queryOptions({ queryKey: ['identity-policy'], queryFn: ({ signal }) => answer(api.GET('/api/v1/settings/identity', { signal })) })
export const allTokens = queryOptions({ queryKey: ['tokens', 'all'], queryFn: ({ signal }) => answer(api.GET('/api/v1/tokens', { signal })) })
export const ownTokens = queryOptions({ queryKey: ['tokens', 'own'], queryFn: ({ signal }) => answer(api.GET('/api/v1/me/tokens', { signal })) })

export interface AuditFilter {
  q?: string
  outcome?: 'ok' | 'refused' | 'failed'
  from?: string
  to?: string
}

export const auditLog = (filter: AuditFilter) =>
  infiniteQueryOptions({
    queryKey: ['audit', 'list', filter],
    queryFn: ({ signal, pageParam }) => answer(api.GET('/api/v1/audit', { params: { query: { ...filter, cursor: pageParam || undefined, limit: 50 } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor || undefined,
    select: (data) => data.pages.flatMap((page) => page.items),
  })
export const verifyAudit = () => answer(api.GET('/api/v1/audit/verify'))
export const auditFile = (filter: AuditFilter, format: 'json' | 'csv') =>
  `/api/v1/audit/export?${new URLSearchParams([...Object.entries(filter).filter((e): e is [string, string] => Boolean(e[1])), ['format', format]]).toString()}`

export const signIn = {
  code: (challenge: string, code: string) => answer(api.POST('/api/v1/login/code', { body: { challenge, code } })),
  beginPasskey: () => answer(api.POST('/api/v1/login/passkey')),
  passkey: (state: string, response: unknown) => answer(api.POST('/api/v1/login/passkey/finish', { body: { state, response } })),
}

export const prove = {
  password: (password: string) => answer(api.POST('/api/v1/me/prove', { body: { password } })),
  code: (code: string) => answer(api.POST('/api/v1/me/prove', { body: { code } })),
  begin: () => answer(api.POST('/api/v1/me/prove/passkey')),
  passkey: (state: string, response: unknown) => answer(api.POST('/api/v1/me/prove/passkey/finish', { body: { state, response } })),
}

export const factor = {
  addApp: (name: string) => answer(api.POST('/api/v1/me/factors/app', { body: { name } })),
  confirmApp: (id: string, code: string) => answer(api.POST('/api/v1/me/factors/app/{id}/confirm', { ...at(id), body: { code } })),
  addPasskey: () => answer(api.POST('/api/v1/me/factors/passkey')),
  confirmPasskey: (state: string, name: string, response: unknown) => answer(api.POST('/api/v1/me/factors/passkey/finish', { body: { state, name, response } })),
  rename: (id: string, name: string) => answer(api.PUT('/api/v1/me/factors/{id}', { ...at(id), body: { name } })),
  remove: (id: string) => answer(api.DELETE('/api/v1/me/factors/{id}', at(id))),
  recovery: () => answer(api.POST('/api/v1/me/factors/recovery')),
}

export const sessions = {
  end: (id: string) => answer(api.DELETE('/api/v1/me/sessions/{id}', at(id))),
  endOthers: () => answer(api.POST('/api/v1/me/sessions/end-others')),
  endOf: (id: string, sid: string) => answer(api.DELETE('/api/v1/users/{id}/sessions/{sid}', { params: { path: { id, sid } } })),
  endAllOf: (id: string) => answer(api.POST('/api/v1/users/{id}/end-sessions', at(id))),
}

export const people = {
  invite: (username: string, role: Role) => answer(api.POST('/api/v1/users', { body: { username, role } })) as Promise<S['Link']>,
  link: (id: string) => answer(api.POST('/api/v1/users/{id}/link', at(id))),
  role: (id: string, role: Role) => answer(api.PUT('/api/v1/users/{id}/role', { ...at(id), body: { role } })),
  disable: (id: string) => answer(api.POST('/api/v1/users/{id}/disable', at(id))),
  enable: (id: string) => answer(api.POST('/api/v1/users/{id}/enable', at(id))),
  resetFactors: (id: string) => answer(api.POST('/api/v1/users/{id}/reset-factors', at(id))),
  remove: (id: string) => answer(api.DELETE('/api/v1/users/{id}', at(id))),
  policy: (body: Policy) => answer(api.PUT('/api/v1/settings/identity', { body })),
}

export interface TokenWish {
  name: string
  role?: Role
  scopes: string[]
  expires_in?: string
}

/** The tokens of the server, or one's own. */
export const tokenDeeds = {
  all: {
    create: (body: TokenWish) => answer(api.POST('/api/v1/tokens', { body })) as Promise<NewToken>,
    rotate: (id: string) => answer(api.POST('/api/v1/tokens/{id}/rotate', at(id))) as Promise<NewToken>,
    remove: (id: string) => answer(api.DELETE('/api/v1/tokens/{id}', at(id))),
  },
  own: {
    create: (body: TokenWish) => answer(api.POST('/api/v1/me/tokens', { body })) as Promise<NewToken>,
    rotate: (id: string) => answer(api.POST('/api/v1/me/tokens/{id}/rotate', at(id))) as Promise<NewToken>,
    remove: (id: string) => answer(api.DELETE('/api/v1/me/tokens/{id}', at(id))),
  },
} as const
