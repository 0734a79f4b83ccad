// The memory of a process that several plugins share is that of all: it is shown once, with the first of them.
import type { Plugin, PluginInstance } from '../api/types'

export interface Memory {
  bytes: number
  /** How many other instances are in a process that is counted here. */
  others: number
  /** The plugin that the rest is counted with; undefined when all of it is counted here. */
  with: string | undefined
}

/** The process that an instance runs in, by all that run in it. */
const processOf = (i: PluginInstance): string => `${i.node.id}\n${[i.instance, ...(i.shares ?? [])].toSorted().join('\n')}`

export function memoryOf(plugins: readonly Pick<Plugin, 'id' | 'instances'>[]): Map<string, Memory> {
  const counted = new Map<string, string>()
  const all = new Map<string, Memory>()
  for (const p of plugins) {
    const memory: Memory = { bytes: 0, others: 0, with: undefined }
    all.set(p.id, memory)
    for (const i of p.instances ?? []) {
      const shared = (i.shares?.length ?? 0) > 0
      const first = shared ? counted.get(processOf(i)) : undefined
      if (first !== undefined) {
        if (first !== p.id) memory.with = first
        continue
      }
      if (shared) counted.set(processOf(i), p.id)
      memory.bytes += i.ledger?.memory_bytes ?? 0
      memory.others += i.shares?.length ?? 0
    }
  }
  return all
}
