// One rule over metrics: what it finds now, its terms, and what they would have raised from what is stored.
import '../../locales/metricrules'
import '../../locales/rules'
import { Button, NativeSelect, NumberInput, Switch, Textarea, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { groups } from '../../api/groups'
import { metricRule, metricRuleActions, type MetricRule, type MetricRuleTerms } from '../../api/metricrules'
import { ApiError } from '../../api/http'
import { severities } from '../../api/types'
import { useMay } from '../../api/useMay'
import { blank, previewable, seriesName, termsOf } from '../../lib/metricRule'
import { number } from '../../lib/format'
import { Confirm } from '../../ui/confirm'
import { LoadedPage } from '../../ui/LoadedPage'
import { StateMark } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Problem, type Translate } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { ownerName } from '../incidents/owner'
import { MetricPreview } from './MetricPreview'
import { RuleState } from './MetricRules'
import css from './rules.module.css'

const back = (t: Translate) => ({ to: '/rules', search: { kind: 'metrics' }, label: t('rules.title') })

export function MetricRulePage() {
  const { t } = useTranslation()
  const { name } = useParams({ from: '/inside/rules/metrics/$name' })
  const query = useQuery(metricRule(name))
  return (
    <LoadedPage query={query} title={name} back={back(t)}>
      {(r) => <Known key={r.name} rule={r} />}
    </LoadedPage>
  )
}

function Known({ rule: r }: { rule: MetricRule }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const [asking, setAsking] = useState(false)
  const taken = r.ships ? 'back' : 'remove'
  return (
    <Page title={r.title} back={back(t)}
      lead={<><RuleState rule={r} /> · <span className="mono">{r.name}</span> · {r.updated_by ? t('metricRule.changedBy', { who: ownerName(r.updated_by) }) : t('metricRule.asShips')}</>}
      actions={can('audit') && (!r.ships || r.changed) && <Button variant="default" onClick={() => setAsking(true)}>{t(`metricRule.${taken}`)}</Button>}>
      {r.problem && <p role="note"><StateMark tone="warn">{t('metricRule.problem')}</StateMark> {r.problem}</p>}
      <Now rule={r} />
      <Editor key={r.updated ?? ''} begin={termsOf(r)} save={async (terms) => {
        await metricRuleActions.change(r.name, terms)
        tell.done(t('metricRule.saved', { name: r.name }))
        await client.invalidateQueries({ queryKey: ['metric-rules'] })
      }} />
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t(r.ships ? 'metricRule.backTitle' : 'metricRule.removeTitle', { name: r.name })} confirm={t(`metricRule.${taken}`)} danger
        act={async () => {
          await metricRuleActions.remove(r.name)
          tell.done(t(r.ships ? 'metricRule.wentBack' : 'metricRule.removed', { name: r.name }))
          if (!r.ships) await navigate({ to: '/rules', search: { kind: 'metrics' } })
          await client.invalidateQueries({ queryKey: ['metric-rules'] })
        }}>
        <p>{t(r.ships ? 'metricRule.backText' : 'metricRule.removeText')}</p>
      </Confirm>
    </Page>
  )
}

export function NewMetricRulePage() {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const [name, setName] = useState('')
  return (
    <Page title={t('metricRule.newTitle')} back={back(t)}>
      <Editor begin={blank} name={name} onName={setName} save={async (terms) => {
        await metricRuleActions.add(name, terms)
        tell.done(t('metricRule.saved', { name }))
        await client.invalidateQueries({ queryKey: ['metric-rules'] })
        await navigate({ to: '/rules/metrics/$name', params: { name } })
      }} />
    </Page>
  )
}

/** Which series are pending or firing. */
function Now({ rule: r }: { rule: MetricRule }) {
  const { t } = useTranslation()
  const can = useMay()
  const list = r.instances ?? []
  const all = r.firing + r.pending
  return (
    <Panel title={t('metricRule.now')} flush={list.length > 0} hint={all > list.length && list.length > 0 ? t('metricRule.shown', { count: list.length, all }) : undefined}>
      {!can('metrics:read') ? <p className="dim">{t('metricRule.mayNot')}</p> : list.length === 0 ? <p className="dim">{t('metricRule.nothing')}</p> : (
        <div className={css.now} tabIndex={0} role="region" aria-label={t('metricRule.now')}>
          <table className={ui.table}>
            <caption className="visually-hidden">{t('metricRule.now')}</caption>
            <thead>
              <tr>
                <th scope="col">{t('metricRule.holdsFor')}</th>
                <th scope="col">{t('metricRules.state')}</th>
                <th scope="col" className={ui.right}>{t('metricRule.value')}</th>
                <th scope="col" className={ui.medium}>{t('metricRule.since')}</th>
              </tr>
            </thead>
            <tbody>
              {list.map((x) => (
                <tr key={JSON.stringify(x.labels)}>
                  <td className="break">{x.labels.agent_id ? <Link to="/machines/$id" params={{ id: x.labels.agent_id }}>{seriesName(x.labels)}</Link> : seriesName(x.labels)}</td>
                  <td><StateMark tone={x.state === 'firing' ? 'bad' : 'busy'}>{t(`metricRule.${x.state}`)}</StateMark>{x.no_data && <div className={ui.sub}>{t('metricRule.noDataNow')}</div>}</td>
                  <td className={`${ui.right} num`}>{x.no_data ? '–' : number(x.value)}</td>
                  <td className={ui.medium}><Ago at={x.since} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  )
}

interface Props {
  begin: MetricRuleTerms
  /** Of a rule that is not there yet. */
  name?: string
  onName?: (name: string) => void
  save: (terms: MetricRuleTerms) => Promise<void>
}

const noDatas = ['ends', 'keeps', 'fires'] as const
const lookAfter = 900

function Editor({ begin, name, onName, save }: Props) {
  const { t } = useTranslation()
  const can = useMay()
  const mayWrite = can('audit') && can('metrics:read')
  const readOnly = !mayWrite
  const [terms, setTerms] = useState(begin)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [still] = useDebouncedValue(terms, lookAfter)
  const known = useQuery({ ...groups, enabled: can('agents:read') })
  const set = (part: Partial<MetricRuleTerms>) => setTerms((old) => ({ ...old, ...part }))
  const wrong = (field: string) => (error instanceof ApiError ? error.fields.find((f) => f.path === `body.${field}`)?.message : undefined)
  const seconds = (field: 'for' | 'keep' | 'every', least: number, most: number) => (
    <NumberInput label={t(`metricRule.${field}`)} description={t(`metricRule.${field}Hint`)} value={Number.isNaN(terms[field]) ? '' : terms[field]} min={least} max={most} allowDecimal={false} hideControls readOnly={readOnly}
      error={wrong(field)} onChange={(v) => set({ [field]: v === '' ? Number.NaN : Number(v) })} />
  )
  const ready = previewable(terms)
  const submit = async () => {
    setBusy(true)
    setError(null)
    try {
      await save(terms)
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }
  return (
    <div className={css.editor}>
      <Panel title={t('metricRule.terms')}>
        {readOnly && <p role="note">{t('metricRule.readOnly')}</p>}
        <form className={ui.form} onSubmit={(e) => {
          e.preventDefault()
          void submit()
        }}>
          {onName && <TextInput label={t('metricRule.name')} description={t('metricRule.nameHint')} required pattern="[a-z0-9]+(-[a-z0-9]+)*" maxLength={60} value={name} error={wrong('name')} onChange={(e) => onName(e.currentTarget.value)} />}
          <TextInput label={t('metricRule.title')} required maxLength={120} readOnly={readOnly} value={terms.title} error={wrong('title')} onChange={(e) => set({ title: e.currentTarget.value })} />
          <Textarea className={css.promql} label={t('metricRule.expr')} description={t('metricRule.exprHint')} required autosize minRows={2} maxRows={10} maxLength={8000} spellCheck={false} autoCapitalize="off" readOnly={readOnly}
            value={terms.expr} error={wrong('expr')} onChange={(e) => set({ expr: e.currentTarget.value })} />
          <Textarea className={css.promql} label={t('metricRule.stays')} description={t('metricRule.staysHint')} autosize minRows={1} maxRows={10} maxLength={8000} spellCheck={false} autoCapitalize="off" readOnly={readOnly}
            value={terms.stays ?? ''} error={wrong('stays')} onChange={(e) => set({ stays: e.currentTarget.value })} />
          <div className={ui.fields}>{seconds('for', 0, 604_800)}{seconds('keep', 0, 604_800)}{seconds('every', 5, 86_400)}</div>
          <div className={ui.fields}>
            <NativeSelect label={t('metricRule.severity')} disabled={readOnly} value={terms.severity} onChange={(e) => set({ severity: e.currentTarget.value as MetricRuleTerms['severity'] })}
              data={severities.map((s) => ({ value: s, label: t(`severity.${s}`) }))} />
            <NativeSelect label={t('metricRule.group')} disabled={readOnly} value={terms.group ?? ''} error={wrong('group')} onChange={(e) => set({ group: e.currentTarget.value })}
              data={[{ value: '', label: t('metricRule.anyGroup') }, ...[...new Set([...(known.data?.items.map((g) => g.name) ?? []), ...(terms.group ? [terms.group] : [])])].filter((g) => g !== 'all')]} />
          </div>
          <NativeSelect label={t('metricRule.noData')} disabled={readOnly} value={terms.no_data} error={wrong('no_data')} onChange={(e) => set({ no_data: e.currentTarget.value as (typeof noDatas)[number] })}
            data={noDatas.map((n) => ({ value: n, label: t(`metricRule.noDatas.${n}`) }))} />
          <TextInput label={t('metricRule.summary')} description={t('metricRule.summaryHint')} maxLength={500} readOnly={readOnly} value={terms.summary ?? ''} error={wrong('summary')} onChange={(e) => set({ summary: e.currentTarget.value })} />
          <Switch label={t('metricRule.enabled')} disabled={readOnly} checked={terms.enabled} onChange={(e) => set({ enabled: e.currentTarget.checked })} />
          {error !== null && <Problem error={error} />}
          {mayWrite && <div><Button type="submit" loading={busy} disabled={!ready || terms.title.trim() === ''}>{t('metricRule.save')}</Button></div>}
        </form>
      </Panel>
      {can('metrics:read') && <MetricPreview terms={still} ready={previewable(still)} />}
    </div>
  )
}
