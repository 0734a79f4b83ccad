// One rule, or the whole file, as text: it is checked while somebody writes, its samples are tried, and what it would have found in
// stored traffic is looked up.
import '../../locales/rules'
import { Button, FileButton, Group, Modal, NativeSelect, Switch, Textarea, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { useId, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ApiError } from '../../api/http'
import { ruleBooks, ruleTrial, saveRules, type RuleBook, type RuleProblem } from '../../api/rules'
import { severities } from '../../api/types'
import { useMay } from '../../api/useMay'
import examples from '../../lib/ruleExamples.json'
import { fileHead, fileOf, offsetOf, outline, placeOf, quoted, withPart, withRules, type RuleLines } from '../../lib/ruleText'
import { StateMark } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { Diff } from './Diff'
import { Fields } from './Fields'
import { placeName } from './place'
import { Preview } from './Preview'
import css from './rules.module.css'
import { Samples } from './Samples'

export function RuleEditorPage() {
  const { t } = useTranslation()
  const query = useQuery(ruleBooks)
  const { node, rule, example, whole } = useSearch({ from: '/inside/rules/edit' })
  const title = whole ? t('rule.wholeTitle') : (rule ?? t('rule.newTitle'))
  return (
    <Page title={title} back={{ to: '/rules', label: t('rules.title') }}>
      <Loaded query={query}>
        {({ items }) => <Begun key={`${node} ${rule} ${example} ${whole}`} now={items} />}
      </Loaded>
    </Page>
  )
}

/** What the text is made from stays as it was, whatever others save meanwhile. */
function Begun({ now }: { now: RuleBook[] }) {
  const { t } = useTranslation()
  const { node, rule, example, whole } = useSearch({ from: '/inside/rules/edit' })
  const [items] = useState(now)
  const book = node ? items.find((b) => b.node === node) : items[0]
  const file = book?.rules ?? ''
  const lines = rule === undefined ? undefined : outline(file)?.find((r) => r.id === rule)
  if (rule !== undefined && !lines) return <Empty title={t('rule.gone', { id: rule })} />
  const begin = whole ? file || fileHead : lines ? fileOf(file, lines) : (examples[Number(example) - 1]?.text ?? empty)
  return <Editor book={book} node={book?.node ?? node ?? 'server'} begin={begin} lines={lines} whole={whole === true} />
}

const empty = `${fileHead}  - id: my-rule
    title: "{client} asked for {query}"
    severity: medium
    on: dns
    when: |
      under(query, "example.org")
    samples:
      fires:
        - {query: www.example.org}
      silent:
        - {query: www.example.net}
`

interface Props {
  book: RuleBook | undefined
  node: string
  begin: string
  lines: RuleLines | undefined
  whole: boolean
}

/** After how long without a key something is asked. */
const checkAfter = 350
const lookAfter = 900

function Editor({ book, node, begin, lines, whole }: Props) {
  const { t } = useTranslation()
  const can = useMay()('audit')
  const [text, setText] = useState(begin)
  const [caret, setCaret] = useState(0)
  const [saving, setSaving] = useState(false)
  const area = useRef<HTMLTextAreaElement>(null)
  const [still] = useDebouncedValue(text, checkAfter)
  const [quiet] = useDebouncedValue(text, lookAfter)
  const check = useQuery({ ...ruleTrial(still, 0), enabled: can, placeholderData: keepPreviousData })
  const fresh = still === text && !check.isPlaceholderData && !check.isFetching
  const problems = check.data?.problems ?? []
  const right = fresh && check.isSuccess && problems.length === 0
  const rules = outline(text)
  const offset = (line: number, column: number) => offsetOf(text, line, column)
  const current = rules?.find((r) => caret >= offset(r.from + 1, 1) && caret <= offset(r.to + 1, 1)) ?? (rules?.length === 1 ? rules[0] : undefined)
  const go = (at: number) => {
    area.current?.focus()
    area.current?.setSelectionRange(at, at)
    setCaret(at)
  }
  const insert = (word: string) => {
    const at = area.current?.selectionStart ?? text.length
    setText(text.slice(0, at) + word + text.slice(area.current?.selectionEnd ?? at))
    requestAnimationFrame(() => go(at + word.length))
  }
  const place = placeOf(text, caret)
  return (
    <>
      {!can && <p role="note">{t('rule.readOnly')}</p>}
      <div className={css.editor}>
        <div className={ui.stack}>
          <Panel title={t(whole ? 'rule.textWhole' : 'rule.text')} actions={can && (
            <Group gap="xs">
              {whole && <FileButton accept=".yaml,.yml,text/yaml" onChange={(file) => void file?.text().then(setText)}>{(props) => <Button variant="default" {...props}>{t('rule.load')}</Button>}</FileButton>}
              <Button disabled={!right} onClick={() => setSaving(true)}>{t('rule.save')}</Button>
            </Group>
          )}>
            {!whole && rules?.length === 1 && <Parts text={text} rule={rules[0]!} readOnly={!can} onChange={setText} />}
            <Textarea ref={area} className={`${css.text} ${whole ? css.whole : ''}`} label={<span className="visually-hidden">{t(whole ? 'rule.textWhole' : 'rule.text')}</span>}
              spellCheck={false} autoCapitalize="off" autoCorrect="off" readOnly={!can} value={text} wrap="off"
              onChange={(e) => setText(e.currentTarget.value)} onSelect={(e) => setCaret(e.currentTarget.selectionStart)} />
            <div className={css.under}>
              <span className="num">{t('rule.place', place)}</span>
              {can && <Checked busy={!fresh} problems={problems} failed={check.error} />}
            </div>
            {problems.length > 0 && (
              <ul className={css.problems} aria-label={t('rule.check')}>
                {problems.map((p, i) => <li key={i}><ProblemLine problem={p} text={text} onGo={() => go(offset(p.line, p.column))} /></li>)}
              </ul>
            )}
            {check.isError && fresh && <Problem error={check.error} retry={() => void check.refetch()} />}
          </Panel>
          {can && current && <Panel title={t('rule.samples')}><Samples text={text} rule={current} problems={problems} known={fresh && check.isSuccess} /></Panel>}
        </div>
        <div className={ui.stack}>
          {can && <Preview text={quiet} ready={right && quiet === text} rule={whole ? current?.id : undefined} />}
          <Fields kind={current?.on ?? ''} onPick={can ? insert : undefined} />
        </div>
      </div>
      {saving && <Save book={book} node={node} text={text} lines={lines} whole={whole} onClose={() => setSaving(false)} />}
    </>
  )
}

function Checked({ busy, problems, failed }: { busy: boolean; problems: RuleProblem[]; failed: unknown }) {
  const { t } = useTranslation()
  return (
    <span role="status">
      {busy ? <StateMark tone="busy">{t('rule.checking')}</StateMark>
        : failed ? <StateMark tone="warn">{t('rule.failed')}</StateMark>
        : problems.length > 0 ? <StateMark tone="bad">{t('rule.wrong', { count: problems.length })}</StateMark>
        : <StateMark tone="good">{t('rule.right')}</StateMark>}
    </span>
  )
}

function ProblemLine({ problem, text, onGo }: { problem: RuleProblem; text: string; onGo: () => void }) {
  const { t } = useTranslation()
  const line = text.split('\n')[problem.line - 1]?.trim()
  return (
    <button type="button" onClick={onGo}>
      <strong>{t('rule.at', { line: problem.line, column: problem.column })}:</strong> {problem.text}
      {line && <code>{line}</code>}
    </button>
  )
}

/** The parts of a rule that need no text, as long as each stands in one line. */
function Parts({ text, rule, readOnly, onChange }: { text: string; rule: RuleLines; readOnly: boolean; onChange: (text: string) => void }) {
  const { t } = useTranslation()
  const [techniques, setTechniques] = useState<string | null>(null) // while somebody writes in it
  const fits = (name: string, value: string) => withPart(text, rule, name, value) !== text
  const titleFits = fits('title', quoted(`${rule.title}x`))
  return (
    <div className={ui.form}>
      <TextInput label={t('rule.name')} description={titleFits ? t('rule.nameHint') : t('rule.notLine')} maxLength={200} value={rule.title} readOnly={readOnly || !titleFits}
        onChange={(e) => onChange(withPart(text, rule, 'title', quoted(e.currentTarget.value)))} />
      <div className={ui.fields}>
        <NativeSelect label={t('rule.severity')} value={rule.severity} disabled={readOnly} onChange={(e) => onChange(withPart(text, rule, 'severity', e.currentTarget.value))}
          data={severities.map((s) => ({ value: s, label: t(`severity.${s}`) }))} />
        <TextInput label={t('rule.techniques')} description={t('rule.techniquesHint')} readOnly={readOnly} value={techniques ?? rule.techniques.join(', ')}
          onBlur={() => setTechniques(null)}
          onChange={(e) => {
            setTechniques(e.currentTarget.value)
            const ids = e.currentTarget.value.split(',').map((id) => id.trim()).filter((id) => /^[\w.]+$/.test(id))
            onChange(withPart(text, rule, 'techniques', ids.length > 0 ? `[${ids.join(', ')}]` : ''))
          }} />
      </div>
      <Switch label={t('rule.enabled')} checked={rule.enabled} disabled={readOnly} onChange={(e) => onChange(withPart(text, rule, 'enabled', e.currentTarget.checked ? '' : 'false'))} />
    </div>
  )
}

/** What saving changes, and where. */
function Save({ book, node, text, lines, whole, onClose }: { book: RuleBook | undefined; node: string; text: string; lines: RuleLines | undefined; whole: boolean; onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const where = useId()
  const [chosen, setChosen] = useState(node)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const after = whole ? text : withRules(book?.rules ?? '', lines, text)
  const save = async () => {
    setBusy(true)
    setError(null)
    try {
      await saveRules(after!, chosen, book?.version ?? 0)
      await client.invalidateQueries({ queryKey: ['rules'] })
      tell.done(t('rule.saved'))
      await navigate({ to: '/rules', search: { node: chosen } })
    } catch (e) {
      setError(e instanceof ApiError && e.status === 409 ? new ApiError(409, e.title, t('rule.conflict')) : e)
      setBusy(false)
    }
  }
  return (
    <Modal opened onClose={onClose} size="xl" title={t('rule.saveTitle')} closeButtonProps={{ 'aria-label': t('close') }}>
      {after === null ? <p>{t('rule.cannotPut')}</p> : (
        <>
          {book ? <p>{t('rule.saveWhere')}: {placeName(t, book.node, book)}</p> : (
            <NativeSelect id={where} label={t('rule.saveWhere')} description={t('rule.saveNew')} value={chosen} onChange={(e) => setChosen(e.currentTarget.value)}
              data={['server', 'agents'].map((n) => ({ value: n, label: placeName(t, n) }))} />
          )}
          <Diff before={book?.rules ?? ''} after={after} />
        </>
      )}
      {error !== null && <Problem error={error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button loading={busy} disabled={after === null || after === book?.rules} onClick={() => void save()}>{t('rule.save')}</Button>
      </Group>
    </Modal>
  )
}
