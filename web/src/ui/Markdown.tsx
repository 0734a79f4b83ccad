import { Fragment, useMemo } from 'react'
import { markdown, type Block, type Inline } from '../lib/markdown'
import css from './markdown.module.css'

/** A README, drawn from text alone. */
export function Markdown({ source }: { source: string }) {
  const blocks = useMemo(() => withoutTitle(markdown(source)), [source])
  // The page has the first level and the panel the second; none is left out, wherever the text begins.
  const below = blocks.findIndex((b) => b.kind === 'heading' && b.level <= 2)
  return (
    <div className={css.text}>
      {blocks.map((b, i) => <BlockView key={i} block={b} deep={below >= 0 && i > below} />)}
    </div>
  )
}

/** The page has a title already. */
function withoutTitle(blocks: Block[]): Block[] {
  const [first, ...rest] = blocks
  return first?.kind === 'heading' && first.level === 1 ? rest : blocks
}

function BlockView({ block: b, deep }: { block: Block; deep: boolean }) {
  switch (b.kind) {
    case 'heading':
      return b.level <= 2 || !deep ? <h3><Text parts={b.text} /></h3> : <h4><Text parts={b.text} /></h4>
    case 'paragraph':
      return <p><Text parts={b.text} /></p>
    case 'code':
      return <pre tabIndex={0}>{b.text}</pre>
    case 'list':
      return <ul>{b.items.map((item, i) => <li key={i}><Text parts={item} /></li>)}</ul>
    case 'table':
      return (
        <div className={css.scroll} tabIndex={0}>
          <table>
            <thead>
              <tr>{b.head.map((c, i) => <th key={i} scope="col"><Text parts={c} /></th>)}</tr>
            </thead>
            <tbody>
              {b.rows.map((r, i) => <tr key={i}>{r.map((c, n) => <td key={n}><Text parts={c} /></td>)}</tr>)}
            </tbody>
          </table>
        </div>
      )
  }
}

function Text({ parts }: { parts: Inline[] }) {
  return parts.map((p, i) =>
    p.code ? <code key={i}>{p.text}</code> : p.strong ? <strong key={i}>{p.text}</strong> : <Fragment key={i}>{p.text}</Fragment>,
  )
}
