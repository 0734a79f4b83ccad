// The address of the list of machines: what narrows and sorts it.

export const machineStates = ['online', 'late', 'offline'] as const
export const pluginHealth = ['well', 'failing', 'none'] as const
export const machineSorts = ['name', 'state', 'group', 'system', 'version', 'health', 'seen'] as const
export type MachineSort = (typeof machineSorts)[number]

export interface MachineAddress {
  q?: string
  state?: (typeof machineStates)[number]
  group?: string
  system?: string
  version?: string
  plugins?: (typeof pluginHealth)[number]
  label?: string
  sort?: MachineSort | `-${MachineSort}`
  add?: boolean
}

type Raw = Record<string, unknown>

const text = (raw: Raw, key: string): string | undefined => {
  const value = raw[key]
  return value === undefined || value === null || value === '' || typeof value === 'object' ? undefined : String(value).slice(0, 200)
}

const among = <V extends string>(raw: Raw, key: string, known: readonly V[]): V | undefined => known.find((v) => v === raw[key])

/** What an address or a saved view says, without trusting it. */
export function readMachineAddress(raw: Raw): MachineAddress {
  const sorts = machineSorts.flatMap((s) => [s, `-${s}` as const])
  const found: MachineAddress = {
    q: text(raw, 'q'), state: among(raw, 'state', machineStates), group: text(raw, 'group'), system: text(raw, 'system'), version: text(raw, 'version'),
    plugins: among(raw, 'plugins', pluginHealth), label: text(raw, 'label'), sort: among(raw, 'sort', sorts), add: raw.add === true ? true : undefined,
  }
  return Object.fromEntries(Object.entries(found).filter(([, v]) => v !== undefined)) as MachineAddress
}

/** The same as the API asks for it. */
export function machineQuery({ q, state, group, system, version, plugins, label, sort }: MachineAddress) {
  const many = <V>(v: V | undefined): V[] | undefined => (v === undefined ? undefined : [v])
  return { q, state: many(state), group: many(group), system: many(system), version: many(version), plugins: many(plugins), label: many(label), sort: sort ?? ('name' as const) }
}

export const narrowed = ({ q, state, group, system, version, plugins, label }: MachineAddress): boolean =>
  [q, state, group, system, version, plugins, label].some((v) => v !== undefined)

/** Saved with a view: everything but what is open. */
export function machineViewQuery(address: MachineAddress): string {
  return new URLSearchParams(Object.entries({ ...address, add: undefined }).flatMap(([k, v]) => (v === undefined ? [] : [[k, String(v)]]))).toString()
}

/** A click on a heading: first its own way, then the other way round. */
export const sortAfter = (now: MachineAddress['sort'], by: MachineSort): MachineAddress['sort'] => ((now ?? 'name') === by ? `-${by}` : by)

/** Which parts of a list must be read to draw these rows. */
export function partsOf(first: number, end: number, size: number): number[] {
  if (end <= first) return [0]
  const from = Math.floor(first / size)
  return Array.from({ length: Math.floor((end - 1) / size) - from + 1 }, (_, i) => from + i)
}

/** Labels as they are typed: name=value, separated by commas or lines. Null when one has no name. */
export function readLabels(typed: string): Record<string, string> | null {
  const out: Record<string, string> = {}
  for (const part of typed.split(/[,\n]/).map((p) => p.trim()).filter(Boolean)) {
    const at = part.indexOf('=')
    const name = (at < 0 ? part : part.slice(0, at)).trim()
    if (!name) return null
    out[name] = at < 0 ? '' : part.slice(at + 1).trim()
  }
  return out
}
