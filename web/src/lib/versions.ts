// Versions of a plugin by semantic version: which are newer, which older, which to offer.

/** Negative when a is older than b. A pre-release is older than its release; what is no version sorts as text. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parse(a), parse(b)]
  if (!left || !right) return left ? 1 : right ? -1 : a < b ? -1 : a > b ? 1 : 0
  for (let i = 0; i < 3; i++) {
    const d = left.core[i]! - right.core[i]!
    if (d !== 0) return d
  }
  if (left.pre.length === 0 || right.pre.length === 0) return right.pre.length - left.pre.length
  for (let i = 0; i < Math.max(left.pre.length, right.pre.length); i++) {
    const d = comparePart(left.pre[i], right.pre[i])
    if (d !== 0) return d
  }
  return 0
}

function parse(version: string): { core: number[]; pre: string[] } | null {
  const m = /^v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?$/.exec(version)
  return m ? { core: [Number(m[1]), Number(m[2]), Number(m[3])], pre: m[4]?.split('.') ?? [] } : null
}

/** Fewer parts come first, numbers before words. */
function comparePart(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1
  const [x, y] = [a, b].map((s) => (/^\d+$/.test(s) ? Number(s) : null))
  if (x !== null && y !== null) return x! - y!
  if (x !== null || y !== null) return x !== null ? -1 : 1
  return a < b ? -1 : a > b ? 1 : 0
}

/** The versions that an instance could change to, the newest first. */
export function otherVersions(offered: readonly string[], running: string): string[] {
  return [...new Set(offered)].filter((v) => v !== running).toSorted((a, b) => compareVersions(b, a))
}

/** Why a version is not offered: nodes refuse what is revoked, and nobody new should start with what its author took back. */
export interface Withdrawn {
  how: 'revoked' | 'yanked'
  why: string
}

/** What of the releases was withdrawn, by version. */
export function withdrawnOf(releases: readonly { version: string; revoked?: string; yanked?: string }[]): Map<string, Withdrawn> {
  const out = new Map<string, Withdrawn>()
  for (const r of releases) {
    if (r.revoked) out.set(r.version, { how: 'revoked', why: r.revoked })
    else if (r.yanked) out.set(r.version, { how: 'yanked', why: r.yanked })
  }
  return out
}

/**
 * How what nodes should run compares with the newest version that may run. It is 'withdrawn' when some should run more
 * than that, and 'none' when no version may run at all.
 */
export function newness(newest: string | undefined, wanted: readonly string[]): 'none' | 'withdrawn' | 'older' | 'newest' {
  if (!newest) return 'none'
  const ahead = wanted.filter((v) => v !== '').map((v) => compareVersions(newest, v))
  if (ahead.some((d) => d < 0)) return 'withdrawn'
  return ahead.some((d) => d > 0) ? 'older' : 'newest'
}
