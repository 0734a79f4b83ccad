// What somebody may do, so that a page does not offer what the server will refuse. The server decides in any case.
import type { Me } from '../api/types'

export type Permission = Me['permissions'][number]

/** Deeds that many pages share, each by the permission that stands for it. */
const deeds = {
  administer: 'settings:admin',
  operate: 'agents:write',
  audit: 'rules:write',
  watch: 'alerts:read',
} as const

export type Deed = keyof typeof deeds | `${string}:${string}`

/** What only people of the first tenant may do, whatever their role. */
const ofTheOperator: readonly string[] = ['approvals', 'fleet', 'market', 'plugins', 'server', 'settings', 'tenants']

/** Whether somebody is of the first tenant, which owns the server. */
export const isOperator = (who: Pick<Me, 'tenant'> | undefined): boolean => who?.tenant === ''

export function may(who: Pick<Me, 'permissions' | 'tenant'> | undefined, deed: Deed): boolean {
  const wanted = deed in deeds ? deeds[deed as keyof typeof deeds] : deed
  return who !== undefined && who.permissions.includes(wanted) && (isOperator(who) || !ofTheOperator.includes(wanted.split(':')[0]!))
}
