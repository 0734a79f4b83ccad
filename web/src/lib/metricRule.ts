// What the page of a rule over metrics makes of it and of its preview.
import type { MetricRule, MetricRuleTerms, RulePreview } from '../api/metricrules'
import type { Labelled } from './promql'

export const blank: MetricRuleTerms = { title: '', expr: '', for: 300, keep: 60, every: 30, severity: 'medium', no_data: 'ends', enabled: true }

/** A rule without its name and how it does. */
export const termsOf = (r: MetricRule): MetricRuleTerms => ({
  title: r.title, expr: r.expr, for: r.for, keep: r.keep, every: r.every, severity: r.severity, no_data: r.no_data, enabled: r.enabled,
  ...(r.stays && { stays: r.stays }), ...(r.summary && { summary: r.summary }), ...(r.group && { group: r.group }),
})

/** What can be looked up: a title and a name may come later. */
export const previewable = (t: MetricRuleTerms): boolean => t.expr.trim() !== '' && Number.isInteger(t.for) && Number.isInteger(t.keep) && t.every >= 5

/** Whether a line is of a series that would have had alerts: it has all its labels, and may have a name besides. */
const isTold = (metric: Record<string, string>, told: RulePreview['longest']): boolean =>
  told.some((x) => Object.entries(x.labels).every(([k, v]) => metric[k] === v))

/** The lines that are drawn, those with alerts first. */
export function drawn(lines: readonly Labelled[], told: RulePreview['longest'], most: number): Labelled[] {
  return [...lines.filter((l) => isTold(l.metric, told)), ...lines.filter((l) => !isTold(l.metric, told))].slice(0, most)
}

const whose = ['agent_name', 'host', 'instance'] as const
const untold = new Set<string>([...whose, '__name__', 'agent_id', 'group', 'job'])

/** A series in a few words: whose it is, and what of it. */
export function seriesName(labels: Record<string, string>): string {
  const who = whose.map((k) => labels[k]).find(Boolean)
  const what = Object.entries(labels).filter(([k]) => !untold.has(k)).map(([k, v]) => `${k}=${v}`)
  return [who, ...what].filter(Boolean).join(' ') || labels.agent_id || '–'
}
