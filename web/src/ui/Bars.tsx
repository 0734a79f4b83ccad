// How much of each: names with bars. Where a row can be chosen it is a button, so the chart is also a filter.
import type { ReactNode } from 'react'
import css from './bars.module.css'

export interface Bar {
  key: string
  name: ReactNode
  value: number
  /** The value in words. */
  said: string
  /** What choosing it does, for screen readers; none when it cannot be chosen. */
  label?: string
  choose?: () => void
  /** It is chosen already. */
  chosen?: boolean
}

export function Bars({ bars, label }: { bars: Bar[]; label: string }) {
  const most = Math.max(0, ...bars.map((b) => b.value))
  return (
    <ul className={css.bars} aria-label={label}>
      {bars.map((b) => {
        const inside = (
          <>
            <span className={css.name}>{b.name}</span>
            <span className={css.said}>{b.said}</span>
            <span className={css.line} aria-hidden="true"><i style={{ width: `${most > 0 ? Math.max(0.5, (b.value / most) * 100) : 0}%` }} /></span>
          </>
        )
        return (
          <li key={b.key}>
            {b.choose
              ? <button type="button" className={css.bar} aria-pressed={b.chosen ?? false} title={b.label} onClick={b.choose}>{inside}</button>
              : <div className={css.bar}>{inside}</div>}
          </li>
        )
      })}
    </ul>
  )
}
