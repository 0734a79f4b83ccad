// The state of the marketplace as its address holds it.

export const marketKinds = ['collector', 'discovery', 'detector', 'notifier', 'model', 'data'] as const
export type MarketKind = (typeof marketKinds)[number]

export const tiers = ['gold', 'silver', 'bronze', 'none'] as const
export type Tier = (typeof tiers)[number]

export const sorts = ['relevance', 'installs', 'rating', 'new', 'name'] as const
export type Sort = (typeof sorts)[number]

export interface MarketFilter {
  q?: string
  kind?: MarketKind
  technique?: string
  protocol?: string
  tag?: string
  publisher?: string
  tier?: Tier
  installed?: boolean
  sort?: Sort
}

type Query = Record<string, unknown>

export interface MarketAddress extends MarketFilter {
  page?: number
}

/** What is unknown or empty is left out. */
export function readAddress(query: Query): MarketAddress {
  const out: MarketAddress = {}
  for (const key of ['q', 'technique', 'protocol', 'tag', 'publisher'] as const) {
    const value = query[key]
    if (typeof value === 'string' || typeof value === 'number') out[key] = String(value).slice(0, 200) || undefined
  }
  out.kind = marketKinds.find((k) => k === query.kind)
  out.tier = tiers.find((k) => k === query.tier)
  out.sort = sorts.find((k) => k === query.sort)
  if (query.installed === true) out.installed = true
  const page = Number(query.page)
  if (Number.isInteger(page) && page > 1 && page < 100_000) out.page = page
  return Object.fromEntries(Object.entries(out).filter(([, v]) => v !== undefined)) as MarketAddress
}

/** Whether somebody searches, or just looks at the front page. */
export const isSearch = (a: MarketAddress): boolean => Object.keys(a).length > 0

/** The filters beside the words, which a page shows so that they can be taken away one by one. */
export function activeFilters(a: MarketAddress): (keyof MarketFilter)[] {
  return (['kind', 'tier', 'tag', 'technique', 'protocol', 'publisher', 'installed'] as const).filter((k) => a[k] !== undefined)
}

/** A changed filter starts on the first page again. */
export function withFilter(a: MarketAddress, change: Partial<MarketAddress>): MarketAddress {
  return readAddress({ ...a, page: undefined, ...change })
}
