// ATT&CK techniques by id: their names and where they stand in the matrices. Bundled, because no page asks another host.
// An id that is not known is shown by its id alone.
import table from './attack.json'

export const domains = ['enterprise', 'ics'] as const
export type Domain = (typeof domains)[number]

export interface Tactic {
  id: string
  name: string
}

const techniques = table.techniques as unknown as Record<string, [name: string, ...tactics: number[]] | undefined>
const shape = /^T\d{4}(\.\d{3})?$/

const tactics = Object.fromEntries(domains.map((d) => [d, table.tactics[d].map(([id, name]) => ({ id: id!, name: name! }))])) as Record<Domain, Tactic[]>

/** The columns of a matrix, in the order of an attack. */
export const tacticsOf = (domain: Domain): Tactic[] => tactics[domain]

/** ATT&CK numbers the techniques of industrial control systems from T0800. */
export const domainOf = (id: string): Domain => (id.startsWith('T0') ? 'ics' : 'enterprise')

/** The technique that a sub-technique belongs to; itself when it is none. */
export const parentOf = (id: string): string => (shape.test(id) ? id.slice(0, 5) : id)

export const ownName = (id: string): string | undefined => (Object.hasOwn(techniques, id) ? techniques[id]![0] : undefined)

/** The columns that a technique stands in. */
export const placesOf = (id: string): number[] => (Object.hasOwn(techniques, id) ? (techniques[id]!.slice(1) as number[]) : [])

/** The techniques of a matrix, without those below them, by name. */
export const allTechniques = (domain: Domain): string[] => Object.keys(techniques).filter((id) => id.length === 5 && domainOf(id) === domain)

/** The name of a technique; a sub-technique carries its parent's name in front. */
export function techniqueName(id: string): string | undefined {
  const own = ownName(id)
  const parent = id.includes('.') ? ownName(parentOf(id)) : undefined
  return own && parent ? `${parent}: ${own}` : (own ?? parent)
}

/** Where the technique is described, for whoever chooses to follow; undefined when it is not an id of that kind. */
export function techniqueLink(id: string): string | undefined {
  return shape.test(id) ? `https://attack.mitre.org/techniques/${id.replace('.', '/')}/` : undefined
}
