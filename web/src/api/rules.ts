// What the pages of custom rules ask for and change.
import { queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import type { components } from './schema'

type S = components['schemas']
export type RuleBook = S['RuleBook']
export type RuleVerdict = S['RuleVerdict']
export type RuleProblem = S['RuleProblem']
export type RulesFound = S['RulesFound']
export type RuleVersion = S['RuleVersion']

export const ruleBooks = queryOptions({
  queryKey: ['rules'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/rules', { signal })),
  refetchInterval: 10_000,
})

export const ruleVersions = (instance: string) =>
  queryOptions({
    queryKey: ['rules', 'versions', instance],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/rules/versions', { params: { query: { instance } }, signal })),
  })

/** What is wrong with rules; and with hours, what they would have found. Whoever writes on takes back what was asked. */
export const ruleTrial = (rules: string, hours: number) =>
  queryOptions({
    queryKey: ['rules', 'trial', hours, rules],
    queryFn: ({ signal }) => answer(api.POST('/api/v1/rules/try', { body: { rules, ...(hours > 0 && { hours }) }, signal })),
    retry: false,
    staleTime: Infinity,
    gcTime: 60_000,
    refetchOnWindowFocus: false,
  })

export const saveRules = (rules: string, node: string, base: number) => answer(api.PUT('/api/v1/rules', { body: { rules, node, base } }))
