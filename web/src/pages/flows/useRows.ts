// A long list in a box of its own: what of it is drawn, and the keys that walk through it.
import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react'
import { rowAfterKey, scrollFor, windowOf } from '../../lib/windowed'

/** As flows.module.css draws a row and the heading that stays above them. */
export const rowHeight = 48
const headingHeight = 32

/** `list` names what the list is of: another one begins at its top. */
export function useRows(count: number, list: string) {
  const scroller = useRef<HTMLDivElement>(null)
  const [scrollTop, setScrollTop] = useState(0)
  const [viewport, setViewport] = useState(600)
  const [current, setCurrent] = useState(0)
  const wanted = useRef<number | null>(null)
  const [, draw] = useState(0)

  const filled = count > 0
  useLayoutEffect(() => {
    const box = scroller.current
    if (!box) return
    setViewport(box.clientHeight)
    const watcher = new ResizeObserver(() => setViewport(box.clientHeight))
    watcher.observe(box)
    return () => watcher.disconnect()
  }, [filled])

  useEffect(() => {
    scroller.current?.scrollTo({ top: 0 })
    setScrollTop(0)
    setCurrent(0)
  }, [list])

  // The row may have to be drawn before it can have the focus.
  useLayoutEffect(() => {
    if (wanted.current === null) return
    const link = scroller.current?.querySelector<HTMLElement>(`[data-row="${wanted.current}"]`)
    if (!link) return
    wanted.current = null
    link.focus({ preventScroll: true })
  })

  /** Brings a row into view and gives it the focus. */
  const go = (row: number) => {
    const box = scroller.current
    if (!box) return
    const top = scrollFor(row, box.scrollTop, viewport, rowHeight, headingHeight)
    box.scrollTop = top
    wanted.current = row
    setScrollTop(top)
    setCurrent(row)
    draw((n) => n + 1) // also when the row was the current one, without the focus
  }

  const onKey = (event: KeyboardEvent) => {
    const at = (event.target as HTMLElement).dataset.row
    if (at === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    const next = rowAfterKey(event.key, Number(at), count, Math.max(1, Math.floor(viewport / rowHeight) - 1))
    if (next === null) return
    event.preventDefault()
    go(next)
  }

  const window = windowOf(scrollTop, viewport, rowHeight, count)
  // Something must have the tabstop: the first row in view when the one that had it is out of sight.
  const visible = current >= window.first && current < window.end ? current : Math.min(window.end - 1, Math.ceil(scrollTop / rowHeight))
  return { scroller, window, current: visible, setCurrent, go, onKey, onScroll: () => setScrollTop(scroller.current?.scrollTop ?? 0) }
}
