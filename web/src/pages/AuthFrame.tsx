import { useEffect, type ReactNode } from 'react'
import { Mark } from '../ui/icons'
import css from './auth.module.css'

/** The frame of the pages before the login. */
export function AuthFrame({ title, lead, children }: { title: string; lead?: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Picket`
  }, [title])
  return (
    <main className={css.frame}>
      <div className={css.card}>
        <div className={css.brand}><Mark size={30} /> Picket</div>
        <div>
          <h1>{title}</h1>
          {lead && <p className="dim">{lead}</p>}
        </div>
        {children}
      </div>
    </main>
  )
}
