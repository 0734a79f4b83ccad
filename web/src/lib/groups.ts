// Groups of machines and what they are to run, as pages show them.
import type { components } from '../api/schema'

type S = components['schemas']
export type MachineGroup = S['AgentGroup']
export type Configured = S['ConfiguredPlugin']
export type WantedPlugin = S['PluginWish']

export const everybody = 'all'

export interface Branch {
  group: MachineGroup
  depth: number
}

/** The groups in the order of a tree, each behind its parent. What the server says can go round in no circle. */
export function treeOf(groups: readonly MachineGroup[]): Branch[] {
  const below = new Map<string, MachineGroup[]>()
  for (const g of groups) below.set(g.parent, [...(below.get(g.parent) ?? []), g])
  const out: Branch[] = []
  const add = (parent: string, depth: number) => {
    const list = below.get(parent) ?? []
    below.delete(parent)
    for (const group of list) {
      out.push({ group, depth })
      add(group.name, depth + 1)
    }
  }
  add(everybody, 0)
  return out
}

/** A group and all below it: none of them can be its parent. */
export function withBelow(groups: readonly MachineGroup[], name: string): Set<string> {
  const out = new Set([name])
  for (const { group } of treeOf(groups)) if (out.has(group.parent)) out.add(group.name)
  return out
}

export const targetOf = (group: string): string => (group === everybody ? 'agents' : `group:${group}`)

export type Whose = { of: 'all' | 'machine'; name: '' } | { of: 'group'; name: string }

/** Whose configuration an address of the API means. */
export function whose(target: string): Whose {
  if (target === 'agents') return { of: 'all', name: '' }
  return target.startsWith('group:') ? { of: 'group', name: target.slice('group:'.length) } : { of: 'machine', name: '' }
}

/** All settings of a plugin by their paths, as text. Of a secret there is only that it is set. */
export function settingsOf(p: Configured): { path: string; value?: string }[] {
  const out: { path: string; value?: string }[] = []
  const add = (path: string, v: unknown) => {
    if (v !== null && typeof v === 'object' && !Array.isArray(v)) for (const [k, below] of Object.entries(v)) add(path ? `${path}.${k}` : k, below)
    else if (v !== undefined && v !== null) out.push({ path, value: typeof v === 'string' ? v : JSON.stringify(v) })
  }
  add('', p.config)
  add('limits', p.limits)
  for (const name of p.secrets_set) out.push({ path: name })
  return out.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

/** What stands in a configuration, as it is sent to stand there again. Secrets that are left out keep their values. */
export function wantedOf(p: Configured): WantedPlugin {
  return {
    plugin: p.plugin, version: p.version, runtime: p.runtime as WantedPlugin['runtime'], config: p.config, interval: p.interval, limits: p.limits,
    grants: [...new Set(p.grants.map((g) => g.cap))],
  }
}

/** A setting of a comparison without the quotes of its JSON. */
export function plain(json: string | undefined): string {
  if (json === undefined) return '–'
  try {
    const v: unknown = JSON.parse(json)
    return typeof v === 'string' ? v : json
  } catch {
    return json
  }
}

/** Rules as they are typed, one a line. */
export const rulesOf = (text: string): string[] => text.split('\n').map((r) => r.trim()).filter(Boolean)
