// What the pages of rules over metrics ask for and change.
import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { answer, api } from './http'
import { queryRange } from './operate'
import type { components } from './schema'

type S = components['schemas']
export type MetricRule = S['MetricRule']
export type MetricRuleTerms = S['MetricRuleTerms']
export type RuleInstance = S['RuleInstance']
export type RulePreview = S['RulePreview']

export const metricRules = queryOptions({
  queryKey: ['metric-rules'],
  queryFn: ({ signal }) => answer(api.GET('/api/v1/metric-rules', { signal })),
  refetchInterval: 10_000,
})

export const metricRule = (name: string) =>
  queryOptions({
    queryKey: ['metric-rules', name],
    queryFn: ({ signal }) => answer(api.GET('/api/v1/metric-rules/{name}', { params: { path: { name } }, signal })),
    refetchInterval: 10_000,
  })

/** What a rule would have raised in the hours before a time. */
export const metricRulePreview = (terms: MetricRuleTerms, to: number, hours: number) =>
  queryOptions({
    queryKey: ['metric-rule-preview', to, hours, terms],
    queryFn: ({ signal }) => {
      const span = { from: new Date(to - hours * 3_600_000).toISOString(), to: new Date(to).toISOString() }
      return answer(api.POST('/api/v1/metric-rules/preview', { body: { ...terms, ...span }, signal }))
    },
    retry: false,
    staleTime: Infinity,
    gcTime: 60_000,
    placeholderData: keepPreviousData,
  })

/** What a rule compares, over the time of its preview. */
export const watched = (expr: string, to: number, hours: number, step: number) =>
  queryOptions({
    queryKey: ['metric-rule-watched', expr, to, hours, step],
    queryFn: ({ signal }) => queryRange(expr, to - hours * 3_600_000, to, step, signal),
    retry: false,
    staleTime: Infinity,
    gcTime: 60_000,
    placeholderData: keepPreviousData,
  })

export const metricRuleActions = {
  add: (name: string, terms: MetricRuleTerms) => answer(api.POST('/api/v1/metric-rules', { body: { name, ...terms } })),
  change: (name: string, terms: MetricRuleTerms) => answer(api.PUT('/api/v1/metric-rules/{name}', { params: { path: { name } }, body: terms })),
  /** One that ships becomes as it ships. */
  remove: (name: string) => answer(api.DELETE('/api/v1/metric-rules/{name}', { params: { path: { name } } })),
}
