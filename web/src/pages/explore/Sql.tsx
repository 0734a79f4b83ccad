// Queries in SQL, for administrators: they see everything that is stored and no secret, and can change nothing.
import '../../locales/operate'
import { Button, NativeSelect, Textarea } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { runSql, sqlTables, type SqlAnswer } from '../../api/operate'
import { download } from '../../lib/download'
import { bytes, count, duration } from '../../lib/format'
import { csvOf, secondsOf } from '../../lib/promql'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import { ExploreTabs } from '../Explore'
import css from './explore.module.css'

const spans = ['15m', '1h', '6h', '1d', '7d', '30d', '365d'] as const

export function SqlPage() {
  const { t } = useTranslation()
  const tables = useQuery(sqlTables)
  const [text, setText] = useState('SELECT severity, count(*) AS alerts\nFROM alerts\nGROUP BY severity\nORDER BY alerts DESC')
  const [span, setSpan] = useState<string>('1h')
  const run = useMutation({ mutationFn: () => runSql(text, secondsOf(span) ?? 3600) })
  return (
    <Page title={t('explore.title')} lead={t('sql.lead')}>
      <ExploreTabs />
      <Panel title={t('sql.query')}>
        <Textarea classNames={{ input: css.sql }} label={t('sql.label')} value={text} onChange={(e) => setText(e.currentTarget.value)} autosize minRows={4} maxRows={20} spellCheck={false} autoCapitalize="none"
          onKeyDown={(e) => {
            if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) run.mutate()
          }} />
        <div className={css.buttons}>
          <Button loading={run.isPending} disabled={text.trim() === ''} onClick={() => run.mutate()}>{t('sql.run')}</Button>
          <NativeSelect aria-label={t('sql.span')} value={span} onChange={(e) => setSpan(e.currentTarget.value)} data={spans.map((s) => ({ value: s, label: t('sql.of', { span: s }) }))} />
        </div>
        {tables.data && <p className={ui.hint}>{t('sql.limits', { seconds: tables.data.limits.seconds, memory: bytes(tables.data.limits.memory_bytes), rows: count(tables.data.limits.rows) })}</p>}
      </Panel>
      {run.isError && <Problem error={run.error} />}
      {run.data && <Result answer={run.data} />}
      <Panel title={t('sql.tables')}>
        <Loaded query={tables}>
          {(d) => (
            <div className={css.schema}>
              {d.tables.map((table) => (
                <details key={table.name}>
                  <summary><code>{table.name}</code> <span className="dim">{table.doc}{table.timed && ` ${t('sql.timed')}`}</span></summary>
                  <dl>{table.columns.map((c) => <div key={c.name} className={css.column}><dt>{c.name}</dt><dd>{c.type.toLowerCase()}{c.doc && ` · ${c.doc}`}</dd></div>)}</dl>
                </details>
              ))}
            </div>
          )}
        </Loaded>
      </Panel>
    </Page>
  )
}

function Result({ answer: a }: { answer: SqlAnswer }) {
  const { t } = useTranslation()
  const head = a.columns.map((c) => c.name)
  const rows = a.rows as unknown as (unknown[] | null)[]
  const full = rows.map((r) => r ?? [])
  return (
    <Panel title={t('sql.result')} flush hint={t(a.truncated ? 'sql.first' : 'sql.rows', { n: count(a.rows.length), took: duration(a.took_seconds) })} actions={
      <span className={css.buttons}>
        <Button size="xs" variant="default" onClick={() => download('picket-sql.csv', 'text/csv', csvOf(head, full))}>CSV</Button>
        <Button size="xs" variant="default" onClick={() => download('picket-sql.json', 'application/json', JSON.stringify(full.map((r) => Object.fromEntries(head.map((h, i) => [h, r[i]])))))}>JSON</Button>
      </span>
    }>
      {full.length === 0 ? <Empty title={t('sql.none')}>{t('sql.noneText')}</Empty> : (
        <div className={css.results} tabIndex={0} role="group" aria-label={t('sql.result')}>
          <table className={ui.table}>
            <caption className="visually-hidden">{t('sql.result')}</caption>
            <thead><tr>{a.columns.map((c, i) => <th key={i} scope="col" title={c.type}>{c.name}</th>)}</tr></thead>
            <tbody>{full.slice(0, 1000).map((r, i) => <tr key={i}>{r.map((v, n) => <td key={n} className={typeof v === 'number' ? 'num' : undefined}>{v === null ? <span className="dim">NULL</span> : typeof v === 'object' ? JSON.stringify(v) : String(v as string | number | boolean)}</td>)}</tr>)}</tbody>
          </table>
          {full.length > 1000 && <p className={ui.more}>{t('sql.shown', { n: count(1000) })}</p>}
        </div>
      )}
    </Panel>
  )
}
