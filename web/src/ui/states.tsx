// What a page shows when there is nothing, not yet, or something went wrong.
import { Button, Skeleton } from '@mantine/core'
import type { UseInfiniteQueryResult, UseQueryResult } from '@tanstack/react-query'
import type { TFunction } from 'i18next'
import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { ApiError } from '../api/http'
import css from './ui.module.css'

export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className={css.empty}>
      <strong>{title}</strong>
      {children && <p className="dim">{children}</p>}
      {action}
    </div>
  )
}

/** What went wrong, in the server's words, and what to do next. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useTranslation()
  const { title, detail, next, fields } = explain(error, t)
  return (
    <div className={css.error} role="alert">
      <strong>{title}</strong>
      {detail && !fields.some((f) => f.message === detail) && <span className="break">{detail}</span>}
      {fields.length > 0 && (
        <ul>
          {fields.map((f, i) => (
            <li key={i} className="break"><code>{f.path}</code> {f.message}</li>
          ))}
        </ul>
      )}
      {next && <span className="dim">{next}</span>}
      {retry && <Button variant="default" size="xs" mt={6} onClick={retry}>{t('error.retry')}</Button>}
    </div>
  )
}

export type Translate = TFunction

export function explain(error: unknown, t: Translate) {
  if (!(error instanceof ApiError)) {
    return { title: t('error.page'), detail: error instanceof Error ? error.message : String(error), next: t('error.pageNext'), fields: [] }
  }
  const next =
    error.status === 0 ? t('error.unreachableNext')
    : error.status === 401 ? t('error.signedOutNext')
    : error.status === 403 ? t('error.forbiddenNext')
    : error.status === 404 ? t('error.missingNext')
    : error.status === 429 ? t('error.busyNext')
    : error.status >= 500 ? t('error.serverNext')
    : ''
  const known = error.status > 503 || error.status === 502 ? 500 : error.status
  const title = error.status === 0 ? t('error.unreachable') : t(`error.titles.${known}` as 'error.titles.500', { defaultValue: error.title })
  return { title, detail: error.detail, next, fields: error.fields }
}

export function Loading({ rows = 4 }: { rows?: number }) {
  const { t } = useTranslation()
  return (
    <div className={css.skeleton} role="status" aria-label={t('loading')}>
      {Array.from({ length: rows }, (_, i) => <Skeleton key={i} height={14} width={`${92 - i * 11}%`} />)}
    </div>
  )
}

/** The usual three: loading, failed (shown above what was known before), here it is. */
export function Loaded<T>({ query, rows, children }: { query: UseQueryResult<T>; rows?: number; children: (data: T) => ReactNode }) {
  if (query.data === undefined) {
    return query.isError ? <Problem error={query.error} retry={() => void query.refetch()} /> : <Loading rows={rows} />
  }
  return (
    <>
      {query.isError && <Problem error={query.error} retry={() => void query.refetch()} />}
      {children(query.data)}
    </>
  )
}

interface ListProps<T> {
  query: UseInfiniteQueryResult<T[]>
  empty: ReactNode
  children: (items: T[]) => ReactNode
}

export function LoadedList<T>({ query, empty, children }: ListProps<T>) {
  const { t } = useTranslation()
  return (
    <Loaded query={query as unknown as UseQueryResult<T[]>}>
      {(items) => (
        <>
          {items.length === 0 ? empty : children(items)}
          {query.hasNextPage && (
            <div className={css.more}>
              <Button variant="default" size="xs" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                {t('more')}
              </Button>
            </div>
          )}
        </>
      )}
    </Loaded>
  )
}
