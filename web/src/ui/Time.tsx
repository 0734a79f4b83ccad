import { useSyncExternalStore } from 'react'
import { ago, clock, second } from '../lib/format'

// One timer for all times on the page.
const listeners = new Set<() => void>()
let now = Date.now()
let timer: ReturnType<typeof setInterval> | null = null

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  timer ??= setInterval(() => {
    now = Date.now()
    for (const l of listeners) l()
  }, 5000)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0 && timer !== null) {
      clearInterval(timer)
      timer = null
    }
  }
}

/** Now, to within five seconds. */
export function useNow(): Date {
  return new Date(useSyncExternalStore(subscribe, () => now))
}

const known = (at: string | undefined): at is string => !!at && !at.startsWith('0001-')

/** A moment as people compare it, `toSecond` for what happened on the network, with the exact one in the title. */
export function Time({ at, toSecond }: { at: string | undefined; toSecond?: boolean }) {
  const current = useNow()
  if (!known(at)) return <span className="dim">–</span>
  return <time dateTime={at} title={at} className="num">{(toSecond ? second : clock)(new Date(at), current)}</time>
}

/** How long ago. */
export function Ago({ at }: { at: string | undefined }) {
  const current = useNow()
  if (!known(at)) return <span className="dim">–</span>
  return <time dateTime={at} title={at} className="num">{ago(new Date(at), current)}</time>
}
