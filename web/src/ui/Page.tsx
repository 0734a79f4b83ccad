import { useEffect, useId, type ReactNode } from 'react'
import { Link } from '@tanstack/react-router'
import css from './ui.module.css'

interface PageProps {
  title: string
  /** For the tab, when it should differ from the heading. */
  tab?: string
  lead?: ReactNode
  back?: { to: string; search?: Record<string, string>; label: string }
  actions?: ReactNode
  children: ReactNode
}

/** A page: its one h1, what it is about, what can be done here. */
export function Page({ title, tab, lead, back, actions, children }: PageProps) {
  useEffect(() => {
    document.title = `${tab ?? title} · Picket`
  }, [tab, title])
  return (
    <div className={css.page}>
      <header className={css.head}>
        <div className={css.headText}>
          {back && (
            <nav aria-label="Breadcrumb" className={css.crumb}>
              <span aria-hidden="true">←</span>
              <Link to={back.to} search={back.search}>{back.label}</Link>
            </nav>
          )}
          <h1 tabIndex={-1}>{title}</h1>
          {lead && <p className={css.lead}>{lead}</p>}
        </div>
        {actions && <div className={css.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  )
}

interface PanelProps {
  title: string
  hint?: ReactNode
  actions?: ReactNode
  /** The body reaches the frame, for tables. */
  flush?: boolean
  children: ReactNode
}

export function Panel({ title, hint, actions, flush, children }: PanelProps) {
  const id = useId()
  return (
    <section className={css.panel} aria-labelledby={id}>
      <div className={css.panelHead}>
        <h2 id={id}>{title}</h2>
        {hint && <span className={css.hint}>{hint}</span>}
        {actions}
      </div>
      <div className={flush ? css.panelFlush : css.panelBody}>{children}</div>
    </section>
  )
}

export function Facts({ children }: { children: ReactNode }) {
  return <dl className={css.facts}>{children}</dl>
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  )
}
