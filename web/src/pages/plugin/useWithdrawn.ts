import { useQuery } from '@tanstack/react-query'
import { marketPlugin } from '../../api/market'
import type { Plugin } from '../../api/types'
import { withdrawnOf, type Withdrawn } from '../../lib/versions'

/**
 * The versions of a plugin that must not or should not run, by version; undefined while that is being asked. Where there
 * is no marketplace to ask, it is what the plugin itself shows, and the server refuses the others.
 */
export function useWithdrawn(p: Plugin): Map<string, Withdrawn> | undefined {
  const { data, isPending } = useQuery(marketPlugin(p.id))
  if (isPending) return undefined
  const out = withdrawnOf(data?.releases ?? [])
  if (p.revoked) for (const v of p.versions) if (!out.has(v)) out.set(v, { how: 'revoked', why: p.revoked })
  for (const i of p.instances) if (i.state === 'revoked' && !out.has(i.version)) out.set(i.version, { how: 'revoked', why: i.reason ?? '' })
  return out
}
