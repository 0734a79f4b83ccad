// A series as a live query: the first read takes the whole range, later ones only what may have changed.
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { merge, refreshFrom, stepFor } from '../lib/series'
import { answer, api } from './http'
import type { SeriesAnswer } from './types'

export interface SeriesWish {
  metric: string
  /** Only what this machine sent. */
  agent?: string
  /** A counter as its increase per second. */
  rate?: boolean
  agg?: 'avg' | 'min' | 'max' | 'last'
}

export interface SeriesData extends SeriesAnswer {
  from: number
  to: number
}

export function useSeries(wish: SeriesWish, rangeSeconds: number) {
  const client = useQueryClient()
  const key = ['series', wish, rangeSeconds]
  return useQuery({
    queryKey: key,
    queryFn: async ({ signal }): Promise<SeriesData> => {
      const step = stepFor(rangeSeconds)
      const to = Date.now()
      const from = Math.floor((to - rangeSeconds * 1000) / (step * 1000)) * step * 1000
      const old = client.getQueryData<SeriesData>(key)
      const since = refreshFrom(old, from)
      const query = {
        metric: wish.metric,
        agent: wish.agent,
        from: new Date(since).toISOString(),
        to: new Date(to).toISOString(),
        step: `${step}s`,
        rate: wish.rate,
        agg: wish.agg,
      }
      const fresh = (await answer(api.GET('/api/v1/series', { params: { query }, signal }))) as SeriesAnswer
      return { ...merge(old, fresh, from), from, to }
    },
    placeholderData: keepPreviousData,
    staleTime: 2000,
  })
}
