// Plugins that ask nobody and measure nothing: they are shown traffic when it comes.
import type { Plugin } from '../api/types'

const shown = ['facts.read', 'files.read', 'flows.read', 'packets.read']

/** A discovery that only watches traffic is where captures are, too; core/kernel/catalogue decides the same. */
export function watches({ kind, permissions }: Pick<Plugin, 'kind' | 'permissions'>): boolean {
  const further = (permissions ?? []).filter((p) => p.cap !== 'state')
  return kind === 'discovery' && further.length > 0 && further.every((p) => shown.includes(p.cap))
}
