// What a role may do, so that a page does not offer what the server will refuse. The server decides in any case.
import type { Role } from '../api/types'

export type Deed = 'administer' | 'operate' | 'audit' | 'watch'

const roles: Record<Deed, readonly Role[]> = {
  administer: ['ADM'],
  operate: ['ADM', 'IT'],
  audit: ['ADM', 'SUP'],
  watch: ['ADM', 'IT', 'SUP'],
}

export function may(role: Role | undefined, deed: Deed): boolean {
  return role !== undefined && roles[deed].includes(role)
}
