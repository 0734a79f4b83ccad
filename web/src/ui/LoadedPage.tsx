import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Page } from './Page'
import { Loaded } from './states'

interface Props<T> {
  query: UseQueryResult<T>
  /** The heading until there is one, and when there never is. */
  title: string
  back: { to: string; search?: Record<string, string>; label: string }
  children: (data: T) => ReactNode
}

/** A page about one thing that has to be read first. */
export function LoadedPage<T>({ query, title, back, children }: Props<T>) {
  if (query.data === undefined) {
    return <Page title={title} back={back}><Loaded query={query}>{() => null}</Loaded></Page>
  }
  return <Loaded query={query}>{children}</Loaded>
}
