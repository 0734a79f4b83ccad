// The editor of PromQL, in a chunk of its own. It lies in a shadow root: there CodeMirror keeps its styles in sheets that it
// adopts, where in the page it would write a <style> element, which our content security policy refuses.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { Annotation, EditorState, Prec } from '@codemirror/state'
import { EditorView, keymap, placeholder } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { PromQLExtension } from '@prometheus-io/codemirror-promql'
import { useEffect, useRef } from 'react'
import { flushSync } from 'react-dom'

interface Props {
  value: string
  label: string
  hint: string
  onChange: (value: string) => void
  /** Enter, or Control and Enter. */
  onRun: () => void
}

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--c4)' },
  { tag: [tags.function(tags.variableName), tags.special(tags.variableName), tags.operatorKeyword, tags.modifier], color: 'var(--c2)' },
  { tag: tags.string, color: 'var(--good)' },
  { tag: tags.number, color: 'var(--warn)' },
  { tag: tags.labelName, color: 'var(--accent)' },
  { tag: tags.comment, color: 'var(--dim)' },
  { tag: tags.invalid, color: 'var(--bad)' },
])

const look = EditorView.theme({
  '&': { fontSize: '0.8125rem', color: 'var(--text)', background: 'var(--surface)', border: '1px solid var(--line-strong)', borderRadius: '4px', minHeight: '44px' },
  '&.cm-focused': { outline: '2px solid var(--focus)', outlineOffset: '1px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6' },
  '.cm-content': { padding: '0.6rem 0.25rem', caretColor: 'var(--text)' },
  '.cm-placeholder': { color: 'var(--dim)' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground': { background: 'var(--accent-soft)' },
  '.cm-matchingBracket': { background: 'var(--accent-soft)', outline: '1px solid var(--accent)' },
  '.cm-tooltip': { background: 'var(--surface)', color: 'var(--text)', border: '1px solid var(--line-strong)', borderRadius: '4px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', maxWidth: 'min(32rem, 86vw)' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '0.3rem 0.6rem' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { background: 'var(--accent-soft)', color: 'var(--text)' },
  '.cm-completionDetail': { color: 'var(--dim)', fontStyle: 'normal' },
  '.cm-tooltip.cm-completionInfo': { padding: '0.5rem', maxWidth: '20rem' },
  '.cm-diagnostic': { padding: '0.3rem 0.6rem', borderLeft: '3px solid var(--bad)' },
})

const fromOutside = Annotation.define<boolean>()

export function Editor({ value, label, hint, onChange, onRun }: Props) {
  const holder = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView | null>(null)
  const latest = useRef({ onChange, onRun })
  useEffect(() => {
    latest.current = { onChange, onRun }
  })

  useEffect(() => {
    const host = document.createElement('div')
    holder.current?.append(host)
    const root = host.attachShadow({ mode: 'open' })
    const promql = new PromQLExtension().setComplete({ remote: { url: '/prometheus', httpMethod: 'GET', cache: { maxAge: 5 * 60_000 } }, maxMetricsMetadata: 10_000 })
    const run = () => {
      latest.current.onRun()
      return true
    }
    const made = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        extensions: [
          history(), bracketMatching(), closeBrackets(), autocompletion({ icons: false }), promql.asExtension(), syntaxHighlighting(colours), look,
          EditorView.lineWrapping, EditorView.contentAttributes.of({ 'aria-label': label }), placeholder(hint),
          Prec.high(keymap.of([{ key: 'Mod-Enter', run }])), // Enter takes a completion first, and sends otherwise
          keymap.of([...completionKeymap, { key: 'Enter', run }, { key: 'Shift-Enter', run: (v) => (v.dispatch(v.state.replaceSelection('\n')), true) }, ...closeBracketsKeymap, ...historyKeymap, ...defaultKeymap]),
          EditorView.updateListener.of((u) => {
            if (!u.docChanged || u.transactions.some((transaction) => transaction.annotation(fromOutside))) return
            // At once: a value that comes back late would undo what was typed meanwhile.
            flushSync(() => latest.current.onChange(u.state.doc.toString()))
          }),
        ],
      }),
    })
    view.current = made
    return () => {
      made.destroy()
      host.remove()
      view.current = null
    }
  }, [label, hint])

  useEffect(() => {
    const v = view.current
    if (v && v.state.doc.toString() !== value) v.dispatch({ changes: { from: 0, to: v.state.doc.length, insert: value }, annotations: fromOutside.of(true) })
  }, [value, label, hint])

  return <div ref={holder} />
}
