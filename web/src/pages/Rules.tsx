// The operator's own rules: what runs where, what it found, and what is wrong with it.
import '../locales/metricrules'
import '../locales/rules'
import { Button, Modal, NativeSelect, SegmentedControl } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ruleBooks, ruleVersions, saveRules, type RuleBook, type RuleVersion } from '../api/rules'
import { me } from '../api/queries'
import { useMay } from '../api/useMay'
import { count } from '../lib/format'
import examples from '../lib/ruleExamples.json'
import { isOperator } from '../lib/roles'
import { outline, saidOf, withPart, without, type RuleLines } from '../lib/ruleText'
import { Confirm } from '../ui/confirm'
import { SeverityMark, StateMark, type Tone } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, Loaded } from '../ui/states'
import { Ago, Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import { ownerName } from './incidents/owner'
import { Diff } from './rules/Diff'
import { MetricRules } from './rules/MetricRules'
import { placeName } from './rules/place'
import css from './rules/rules.module.css'

type Hits = { rule: string; findings: number; last: string }[]

/** One place for what people want to hear of: in traffic, which is the operator's, and in metrics. */
export function RulesPage() {
  const { kind } = useSearch({ from: '/inside/rules' })
  const { data: who } = useQuery(me)
  return kind === 'metrics' || !isOperator(who) ? <OverMetrics alone={!isOperator(who)} /> : <OverTraffic />
}

function Kinds({ of }: { of: 'traffic' | 'metrics' }) {
  const { t } = useTranslation()
  const navigate = useNavigate()
  return (
    <SegmentedControl aria-label={t('metricRules.kinds')} value={of} onChange={(kind) => void navigate({ to: '/rules', search: kind === 'metrics' ? { kind } : {} })}
      data={(['traffic', 'metrics'] as const).map((kind) => ({ value: kind, label: t(`metricRules.${kind}`) }))} />
  )
}

function OverMetrics({ alone }: { alone: boolean }) {
  const { t } = useTranslation()
  const can = useMay()
  return (
    <Page title={t('rules.title')} lead={t('metricRules.lead')} actions={(
      <>
        {!alone && <Kinds of="metrics" />}
        {can('audit') && <Button renderRoot={(p) => <Link to="/rules/new-metric" {...p} />}>{t('metricRules.new')}</Button>}
      </>
    )}>
      <MetricRules />
    </Page>
  )
}

function OverTraffic() {
  const { t } = useTranslation()
  const navigate = useNavigate()
  const { node } = useSearch({ from: '/inside/rules' })
  const query = useQuery(ruleBooks)
  const book = query.data?.items.find((b) => b.node === node) ?? query.data?.items[0]
  const [looking, setLooking] = useState(false)
  return (
    <Page title={t('rules.title')} lead={t('rules.lead')} actions={(
      <>
        <Kinds of="traffic" />
        {book && <Deeds book={book} onVersions={() => setLooking(true)} />}
      </>
    )}>
      <Loaded query={query}>
        {({ items, hits }) => book === undefined ? <Begin /> : (
          <>
            {items.length > 1 && (
              <NativeSelect className={ui.narrow} label={t('rules.where')} value={book.node} onChange={(e) => void navigate({ to: '/rules', search: { node: e.currentTarget.value } })}
                data={items.map((b) => ({ value: b.node, label: placeName(t, b.node, b) }))} />
            )}
            <Panel title={t('rules.list')} hint={items.length > 1 ? undefined : placeName(t, book.node, book)} flush>
              <List key={book.node} book={book} hits={hits} />
            </Panel>
            {looking && <Versions book={book} onClose={() => setLooking(false)} />}
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Deeds({ book, onVersions }: { book: RuleBook; onVersions: () => void }) {
  const { t } = useTranslation()
  const can = useMay()
  const navigate = useNavigate()
  return (
    <>
      <Button variant="default" component="a" href={`data:application/yaml;charset=utf-8,${encodeURIComponent(book.rules)}`} download="rules.yaml">{t('rules.export')}</Button>
      <Button variant="default" onClick={onVersions}>{t('rules.versions')}</Button>
      {can('audit') && <Button variant="default" renderRoot={(p) => <Link to="/rules/edit" search={{ node: book.node, whole: true }} {...p} />}>{t('rules.whole')}</Button>}
      {can('audit') && <Button onClick={() => void navigate({ to: '/rules/edit', search: { node: book.node } })}>{t('rules.new')}</Button>}
    </>
  )
}

/** Nothing is written: what somebody may begin with. */
function Begin({ node }: { node?: string }) {
  const { t } = useTranslation()
  const can = useMay()
  if (!can('audit')) return <Empty title={t('rules.none')}>{t('rules.noneRead')}</Empty>
  return (
    <div className={`${ui.empty} ${css.begin}`}>
      <strong>{t('rules.none')}</strong>
      <p className="dim">{t('rules.noneText')}</p>
      <Button variant="default" renderRoot={(p) => <Link to="/rules/edit" search={{ ...(node && { node }) }} {...p} />}>{t('rules.empty')}</Button>
      <h2>{t('rules.begin')}</h2>
      <ul className={css.examples}>
        {examples.map((e, i) => (
          <li key={i}>
            <Link to="/rules/edit" search={{ example: String(i + 1), ...(node && { node }) }}>
              {e.title}
              <div className={ui.sub}>{t(`rules.kinds.${e.on as 'dns'}`)}</div>
            </Link>
          </li>
        ))}
      </ul>
    </div>
  )
}

interface State {
  word: 'runs' | 'left' | 'off' | 'asleep' | 'waits' | 'down'
  tone: Tone
  why: string
}

/** How a rule fares, the worst of all nodes. */
function stateOf(book: RuleBook, rule: RuleLines): State {
  const said = book.runs.map((r) => saidOf(r.reason, rule.id))
  const left = said.find((s) => s.left)?.left
  if (left) return { word: 'left', tone: 'bad', why: left }
  if (!rule.enabled) return { word: 'asleep', tone: 'off', why: '' }
  if (said.some((s) => s.off)) return { word: 'off', tone: 'warn', why: '' }
  const down = book.runs.find((r) => r.state !== 'ready' && r.state !== 'degraded')
  if (down) return ['staged', 'starting', 'draining'].includes(down.state) ? { word: 'waits', tone: 'busy', why: '' } : { word: 'down', tone: 'bad', why: down.reason ?? '' }
  return book.runs.length === 0 ? { word: 'waits', tone: 'busy', why: '' } : { word: 'runs', tone: 'good', why: '' }
}

function List({ book, hits }: { book: RuleBook; hits: Hits }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const [removing, setRemoving] = useState<RuleLines | null>(null)
  const [busy, setBusy] = useState('')
  const rules = outline(book.rules)
  const put = async (text: string, done: string) => {
    await saveRules(text, book.node, book.version)
    tell.done(done)
    await client.invalidateQueries({ queryKey: ['rules'] })
  }
  const toggle = async (r: RuleLines) => {
    setBusy(r.id)
    try {
      await put(withPart(book.rules, r, 'enabled', r.enabled ? 'false' : ''), t(r.enabled ? 'rules.disabled' : 'rules.enabled', { id: r.id }))
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy('')
    }
  }
  return (
    <>
      {book.files.length > 0 && <p className={`${ui.sub} break ${ui.more}`}>{t('rules.files', { count: book.files.length })} {book.files.join(', ')}</p>}
      {rules === null ? <Empty title={t('rules.notLines')} /> : rules.length === 0 ? <Begin node={book.node} /> : (
        <table className={ui.table}>
          <caption className="visually-hidden">{t('rules.list')}</caption>
          <thead>
            <tr>
              <th scope="col">{t('rules.rule')}</th>
              <th scope="col" className={ui.wide}>{t('rules.on')}</th>
              <th scope="col" className={ui.medium}>{t('rules.severity')}</th>
              <th scope="col">{t('rules.state')}</th>
              <th scope="col" className={`${ui.right} ${ui.medium}`}>{t('rules.hits')}</th>
              <th scope="col" className={ui.wide}>{t('rules.last')}</th>
              {can('audit') && <th scope="col" className={ui.medium}><span className="visually-hidden">{t('rules.deeds')}</span></th>}
            </tr>
          </thead>
          <tbody>
            {rules.map((r) => {
              const state = stateOf(book, r)
              const hit = hits.find((h) => h.rule === `own/${r.id}`)
              return (
                <tr key={r.id} className={ui.row} data-rule={r.id}>
                  <td className="break">
                    <Link className={ui.main} to="/rules/edit" search={{ node: book.node, rule: r.id }}>{r.id}</Link>
                    <div className={ui.sub}>{r.title}</div>
                  </td>
                  <td className={ui.wide}>{t(`rules.kinds.${r.on as 'dns'}`, { defaultValue: r.on })}</td>
                  <td className={ui.medium}><SeverityMark severity={r.severity} /></td>
                  <td className="break">
                    <StateMark tone={state.tone}>{t(`rules.states.${state.word}`)}</StateMark>
                    {(state.why || state.word === 'off') && <div className={ui.sub}>{state.why || t('rules.offText')}</div>}
                  </td>
                  <td className={`${ui.right} ${ui.medium} num`}>{hit ? <Link to="/alerts" search={{ detector: 'picket/custom-rules', state: 'all' }}>{count(hit.findings)}</Link> : '0'}</td>
                  <td className={ui.wide}>{hit ? <Ago at={hit.last} /> : '–'}</td>
                  {can('audit') && (
                    <td className={ui.medium}>
                      <div className={css.deeds}>
                        <Button size="compact-xs" variant="default" loading={busy === r.id} aria-label={t(r.enabled ? 'rules.disableOne' : 'rules.enableOne', { id: r.id })} onClick={() => void toggle(r)}>
                          {t(r.enabled ? 'rules.disable' : 'rules.enable')}
                        </Button>
                        <Button size="compact-xs" variant="default" aria-label={t('rules.removeOne', { id: r.id })} onClick={() => setRemoving(r)}>{t('rules.remove')}</Button>
                      </div>
                    </td>
                  )}
                </tr>
              )
            })}
          </tbody>
        </table>
      )}
      <Confirm opened={removing !== null} onClose={() => setRemoving(null)} title={t('rules.removeTitle', { id: removing?.id })} confirm={t('rules.remove')} danger
        act={() => put(without(book.rules, removing!), t('rules.removed', { id: removing!.id }))}>
        <p>{t('rules.removeText')}</p>
      </Confirm>
    </>
  )
}

/** What the rules were before, and the way back. */
function Versions({ book, onClose }: { book: RuleBook; onClose: () => void }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const query = useQuery(ruleVersions(book.instance))
  const [chosen, setChosen] = useState<RuleVersion | null>(null)
  return (
    <>
      <Modal opened={chosen === null} onClose={onClose} size="lg" title={t('rule.versionsTitle')} closeButtonProps={{ 'aria-label': t('close') }}>
        <Loaded query={query}>
          {({ items }) => items.length === 0 ? <p>{t('rule.versionsNone')}</p> : (
            <ul className={css.versions}>
              {items.map((v, i) => (
                <li key={v.version}>
                  <span>{t('rule.version', { number: v.version })}{i === 0 && ` (${t('rule.current')})`}<div className={ui.sub}>{ownerName(v.by)}, <Time at={v.time} /></div></span>
                  {i > 0 && <Button variant="default" aria-label={t('rule.compareOne', { number: v.version })} onClick={() => setChosen(v)}>{t('rule.compare')}</Button>}
                </li>
              ))}
            </ul>
          )}
        </Loaded>
      </Modal>
      {chosen && (
        <Modal opened onClose={() => setChosen(null)} size="xl" title={t('rule.version', { number: chosen.version })} closeButtonProps={{ 'aria-label': t('close') }}>
          <Diff before={book.rules} after={chosen.rules} />
          {can('audit') && chosen.rules !== book.rules && (
            <Button onClick={() => {
              saveRules(chosen.rules, book.node, book.version).then(async () => {
                tell.done(t('rule.wentBack', { number: chosen.version }))
                onClose()
                await client.invalidateQueries({ queryKey: ['rules'] })
              }, (error: unknown) => tell.failed(error))
            }}>{t('rule.back', { number: chosen.version })}</Button>
          )}
        </Modal>
      )}
    </>
  )
}
