// The features of a flow in words, and which of them stand out beside similar flows.
import { standing, type Spread } from './baseline'

/** With fewer similar flows the middle nine tenths are as much chance as anything: the outermost of them decide alone. */
export const enoughPeers = 50

/** What is told of a flow is bounded: the features that stand out most, one of each family. */
const mostUnusual = 8

const statistics = ['min', 'max', 'mean', 'std'] as const
type Statistic = (typeof statistics)[number]

/** A feature's name in parts that have words: what, which way, which figure of it. */
export interface FeatureParts {
  base: string
  way?: 'fwd' | 'rev'
  stat?: Statistic
  /** Of features that are numbered: first_len_3. */
  n?: number
}

/** "fwd_len_mean" → len, to the server, average. Figures of which there are all four are one family. */
export function partsOf(name: string): FeatureParts {
  const way = name.startsWith('fwd_') ? 'fwd' : name.startsWith('rev_') ? 'rev' : undefined
  let base = way ? name.slice(4) : name
  const parts: FeatureParts = { base, ...(way && { way }) }
  const stat = statistics.find((s) => base.endsWith(`_${s}`))
  const numbered = /^(.+)_(\d+)$/.exec(base)
  if (stat) {
    base = base.slice(0, -stat.length - 1)
    return { ...parts, base, stat }
  }
  return numbered ? { ...parts, base: numbered[1]!, n: Number(numbered[2]) } : parts
}

/** Features that say about the same thing: the figures of one length, the rates with the goodput. */
function familyOf(name: string): string {
  const { base, way = '' } = partsOf(name)
  return `${/rate$/.test(base) ? 'rate' : /^(len|payload|header_bytes|goodput)$/.test(base) ? 'len' : base} ${way}`
}

/** How far beyond the middle nine tenths a value lies, in widths of them; 0 within. */
function beyond(value: number, { p5, p95 }: Spread): number {
  const out = Math.max(p5 - value, value - p95, 0)
  // Where similar flows never differ, any difference stands out; how much, its own size says.
  const width = p95 > p5 ? p95 - p5 : Math.max(Math.abs(p5), Math.abs(value)) / 10
  return out === 0 ? 0 : width > 0 ? out / width : Infinity
}

/** A step beyond the edge of what is usual is no news; half as wide again is. */
const farOut = 0.5

/** The features that stand out, the farthest first: at most a few, and one of each family. */
export function unusualOf<T extends Spread & { name: string; value: number }>(features: readonly T[]): T[] {
  const found = features.filter((f) => standing(f.value, f) !== 'usual').map((f) => ({ f, far: beyond(f.value, f) })).filter(({ far }) => far >= farOut)
  const families = new Set<string>()
  return found.toSorted((a, b) => b.far - a.far).map(({ f }) => f).filter(({ name }) => {
    const family = familyOf(name)
    return !families.has(family) && families.add(family)
  }).slice(0, mostUnusual)
}
