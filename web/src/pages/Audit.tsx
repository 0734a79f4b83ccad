import '../locales/identity'
import { Button, Group, NativeSelect, TextInput } from '@mantine/core'
import { useInfiniteQuery, useMutation } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { auditFile, auditLog, verifyAudit, type AuditFilter } from '../api/identity'
import { Copy } from '../ui/Copy'
import { State, StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList, Problem } from '../ui/states'
import { Time } from '../ui/Time'
import ui from '../ui/ui.module.css'
import css from './identity/identity.module.css'

const outcomes = ['ok', 'refused', 'failed'] as const

export function AuditPage() {
  const { t } = useTranslation()
  const [filter, setFilter] = useState<AuditFilter>({})
  const query = useInfiniteQuery(auditLog(filter))
  const verify = useMutation({ mutationFn: verifyAudit })
  const narrowed = Object.values(filter).some(Boolean)
  return (
    <Page title={t('audit.title')} lead={t('audit.lead')} actions={(
      <Group gap="xs">
        <Button component="a" variant="default" href={auditFile(filter, 'csv')} download aria-label={`${t('auditSearch.export')} CSV`}>{t('auditSearch.export')} CSV</Button>
        <Button component="a" variant="default" href={auditFile(filter, 'json')} download aria-label={`${t('auditSearch.export')} JSON`}>{t('auditSearch.export')} JSON</Button>
        <Button variant="default" loading={verify.isPending} onClick={() => verify.mutate()}>{t('auditSearch.verify')}</Button>
      </Group>
    )}>
      <Panel title={t('audit.list')} flush>
        <Search onSearch={setFilter} />
        {(verify.data || verify.isError) && (
          <div className={css.verdict} role="status">
            {verify.isError ? <Problem error={verify.error} /> : verify.data?.whole
              ? <><StateMark tone="good">{t('auditSearch.whole', { count: verify.data.lines })}</StateMark><p className="dim">{t('auditSearch.head')}</p><Copy text={verify.data.head} label={t('auditSearch.headLabel')} /></>
              : <StateMark tone="bad">{t('auditSearch.broken', { line: verify.data?.broken, problem: verify.data?.problem })}</StateMark>}
          </div>
        )}
        <LoadedList query={query} empty={<Empty title={t(narrowed ? 'auditSearch.noneLike' : 'audit.none')} />}>
          {(items) => (
            <table className={ui.table}>
              <caption className="visually-hidden">{t('audit.list')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('audit.time')}</th>
                  <th scope="col">{t('audit.action')}</th>
                  <th scope="col" className={ui.medium}>{t('audit.actor')}</th>
                  <th scope="col">{t('audit.outcome')}</th>
                  <th scope="col" className={ui.wide}>{t('audit.address')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((e) => (
                  <tr key={e.id}>
                    <td><Time at={e.time} /></td>
                    <td className="break">
                      <strong>{e.action}</strong> {e.object && <span className="mono">{e.object}</span>}
                      {e.detail && <div className={ui.sub}>{e.detail}</div>}
                    </td>
                    <td className={`${ui.medium} break`}>{e.actor}</td>
                    <td>{e.outcome ? <State of={e.outcome} bad={e.outcome === 'refused'} /> : '–'}</td>
                    <td className={`${ui.wide} mono`}>{e.address || '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </LoadedList>
      </Panel>
    </Page>
  )
}

/** A day in the reader's time zone, as the server wants it. */
const day = (text: string, days = 0): string | undefined => {
  if (!text) return undefined
  const at = new Date(`${text}T00:00`)
  at.setDate(at.getDate() + days)
  return at.toISOString()
}

function Search({ onSearch }: { onSearch: (filter: AuditFilter) => void }) {
  const { t } = useTranslation()
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const text = (name: string) => String(form.get(name) ?? '')
    onSearch({ q: text('q') || undefined, outcome: outcomes.find((o) => o === text('outcome')), from: day(text('from')), to: day(text('to'), 1) })
  }
  return (
    <form className={css.filter} onSubmit={send} role="search">
      <TextInput name="q" label={t('auditSearch.search')} placeholder={t('auditSearch.searchText')} />
      <NativeSelect name="outcome" label={t('audit.outcome')} data={[{ value: '', label: t('auditSearch.any') }, ...outcomes]} />
      <TextInput name="from" type="date" label={t('auditSearch.from')} />
      <TextInput name="to" type="date" label={t('auditSearch.to')} />
      <Button type="submit">{t('auditSearch.search')}</Button>
    </form>
  )
}
