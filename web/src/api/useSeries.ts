// A series as a live query: the first read takes the whole range, later ones only what may have changed.
import { keepPreviousData, queryOptions, useQueries, useQuery, useQueryClient, type QueryClient, type UseQueryResult } from '@tanstack/react-query'
import { merge, refreshFrom, stepFor } from '../lib/series'
import { answer, api } from './http'
import type { SeriesAnswer } from './types'

export interface SeriesWish {
  metric: string
  /** Only what this machine sent. */
  agent?: string
  /** Only what is this plugin's own. */
  plugin?: string
  /** Only series with these labels, as k=v,k2=v2. */
  labels?: string
  /** A counter as its increase per second. */
  rate?: boolean
  agg?: 'avg' | 'min' | 'max' | 'last'
}

export interface SeriesData extends SeriesAnswer {
  from: number
  to: number
}

interface Part {
  from: number
  to: number
}

/** The latest of a series, or a part of it that somebody looks at closely. */
export function useSeries(wish: SeriesWish, rangeSeconds: number, part?: Part) {
  return useQuery(seriesQuery(useQueryClient(), wish, rangeSeconds, part))
}

async function read(wish: SeriesWish, { from, to }: Part, step: number, signal: AbortSignal): Promise<SeriesAnswer> {
  const query = { ...wish, from: new Date(from).toISOString(), to: new Date(to).toISOString(), step: `${step}s` }
  return (await answer(api.GET('/api/v1/series', { params: { query }, signal }))) as SeriesAnswer
}

/** Several at once. */
export function useManySeries(wishes: readonly SeriesWish[], rangeSeconds: number) {
  const client = useQueryClient()
  return useQueries({ queries: wishes.map((wish) => seriesQuery(client, wish, rangeSeconds)), combine: answersOf })
}

/** What has been answered so far, and what went wrong first; both are the same until something in them changes. */
const answersOf = (results: readonly UseQueryResult<SeriesData>[]): { data: (SeriesData | undefined)[]; error: unknown } =>
  ({ data: results.map((r) => r.data), error: results.find((r) => r.isError)?.error ?? null })

function seriesQuery(client: QueryClient, wish: SeriesWish, rangeSeconds: number, part?: Part) {
  // What is past does not change with what comes in.
  const key = part ? ['series-part', wish, part.from, part.to] : ['series', wish, rangeSeconds]
  return queryOptions({
    queryKey: key,
    queryFn: async ({ signal }): Promise<SeriesData> => {
      if (part) return { ...(await read(wish, part, stepFor((part.to - part.from) / 1000), signal)), ...part }
      const step = stepFor(rangeSeconds)
      const to = Date.now()
      const from = Math.floor((to - rangeSeconds * 1000) / (step * 1000)) * step * 1000
      const old = client.getQueryData<SeriesData>(key)
      const since = refreshFrom(old, from)
      const fresh = await read(wish, { from: since, to }, step, signal)
      return { ...merge(old, fresh, from), from, to }
    },
    placeholderData: keepPreviousData,
    staleTime: 2000,
  })
}
