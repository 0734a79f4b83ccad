// Groups of machines, what they are to run, and the tokens that let machines in.
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { components } from './schema'

type S = components['schemas']
export type Groups = S['Groups']
export type Config = S['Config']
export type ConfigVersion = S['ConfigVersion']
export type ConfigDiff = S['ConfigDiff']
export type Staged = S['StagedWish']
export type Enrolment = S['Enrolment']
export type MadeToken = S['EnrolmentToken']

// What an agent is in or runs changes with all of these; they are read again when something is told of plugins or agents.
export const groups = queryOptions({
  queryKey: ['agents', 'groups'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/groups', { signal })),
})

export const matching = (group: string | undefined, rules: string[]) =>
  queryOptions({
    queryKey: ['agents', 'matching', group ?? '', ...rules],
    queryFn: ({ signal }) => answer(api.POST('/api/v1/groups/match', { body: { group, rules }, signal })),
    placeholderData: keepPreviousData,
    retry: false,
  })

export const aggregate = (group: string, metric: string) =>
  queryOptions({
    queryKey: ['agents', 'aggregate', group, metric],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/groups/{name}/aggregates', { params: { path: { name: group }, query: { metric } }, signal })),
    refetchInterval: 30_000,
  })

export const config = (target: string) =>
  queryOptions({
    queryKey: ['plugins', 'config', target],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/config/{target}', { params: { path: { target } }, signal })),
  })

/** All that are kept fit on one page. */
export const configVersions = (target: string) =>
  queryOptions({
    queryKey: ['plugins', 'config', target, 'versions'],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/config/{target}/versions', { params: { path: { target }, query: { limit: 200 } }, signal })),
  })

/** Against 0 is against the one before. */
export const comparison = (target: string, version: number, against: number) =>
  queryOptions({
    queryKey: ['plugins', 'config', target, 'compare', version, against],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/config/{target}/versions/{version}', { params: { path: { target, version }, query: { against: against || undefined } }, signal })),
    placeholderData: keepPreviousData,
  })

const matchingVersion = (version: number) => ({ header: { 'If-Match': `"${version}"` } })

export const groupActions = {
  create: (body: S['NewGroup']) => answer(api.POST('/api/v1/groups', { body })),
  change: (name: string, version: number, body: S['GroupWish']) => answer(api.PUT('/api/v1/groups/{name}', { params: { path: { name }, ...matchingVersion(version) }, body })),
  remove: (name: string) => answer(api.DELETE('/api/v1/groups/{name}', { params: { path: { name } } })),
}

export const configActions = {
  set: (target: string, version: number, plugins: S['PluginWish'][], comment: string, rollout?: Staged) =>
    answer(api.PUT('/api/v1/config/{target}', { params: { path: { target }, ...matchingVersion(version) }, body: { plugins, comment, rollout } })),
  restore: (target: string, now: number, version: number, comment: string, rollout?: Staged) =>
    answer(api.POST('/api/v1/config/{target}/versions/{version}/restore', { params: { path: { target, version }, ...matchingVersion(now) }, body: { comment, rollout } })),
}

export const enrolments = queryOptions({
  queryKey: ['agents', 'enrolments'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/tokens', { params: { query: { limit: 500 } }, signal })),
})

export const enrolmentUses = (id: string) =>
  queryOptions({
    queryKey: ['agents', 'enrolments', id],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/agents/tokens/{id}/uses', { params: { path: { id } }, signal })),
  })

export const enrolmentActions = {
  make: (body: { name?: string; max_uses?: number; expires_in?: string; group?: string; labels?: Record<string, string> }) => answer(api.POST('/api/v1/agents/tokens', { body })),
  revoke: (id: string) => answer(api.DELETE('/api/v1/agents/tokens/{id}', { params: { path: { id } } })),
}
