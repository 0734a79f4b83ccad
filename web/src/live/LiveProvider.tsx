// Ties the live channel to the queries: a message makes its topic stale, and what is on the page is read again. While
// the channel is down the pages read every few seconds instead.
import { useQueryClient, type QueryClient } from '@tanstack/react-query'
import { createContext, useContext, useEffect, useState, type ReactNode } from 'react'
import type { LiveMessage, LiveTopic } from '../api/types'
import { useMay } from '../api/useMay'
import { LiveChannel, type LiveSocket, type LiveStatus } from './channel'

const stale: Record<LiveTopic, string[]> = {
  samples: ['series'],
  alerts: ['alerts', 'overview', 'inbox', 'metric-rules'],
  plugins: ['plugins', 'agents', 'overview', 'fleet', 'market'],
  captures: ['captures', 'overview'],
  devices: ['devices', 'overview'],
  notices: ['alerts', 'deliveries'],
  incidents: ['incidents', 'overview'],
}

const atMostEvery = 1500
const pollWhenDown = 10_000
/** Figures that grow without an event, such as CPU seconds and "last seen". */
const pollAlways = 15_000
const growing = ['plugins', 'agents', 'overview', 'series']

/** As it is for who may not listen: the pages read instead. */
const deaf: LiveStatus = { state: 'down', seen: null }

const Status = createContext<LiveStatus>({ state: 'connecting', seen: null })
export const useLive = () => useContext(Status)

export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient()
  const may = useMay()('watch')
  const [heard, setStatus] = useState<LiveStatus>({ state: 'connecting', seen: null })
  const status = may ? heard : deaf

  useEffect(() => {
    if (!may) return
    const refresher = new Refresher(client)
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const channel = new LiveChannel(
      `${scheme}://${location.host}/api/v1/live`,
      {
        open: (url) => new WebSocket(url) as unknown as LiveSocket,
        now: Date.now,
        later: (run, ms) => window.setTimeout(run, ms),
        cancel: (timer) => window.clearTimeout(timer),
        random: Math.random,
      },
      (message) => refresher.take(message),
      setStatus,
    )
    const retry = () => channel.retry()
    window.addEventListener('online', retry)
    channel.start()
    return () => {
      window.removeEventListener('online', retry)
      channel.stop()
      refresher.stop()
    }
  }, [client, may])

  const down = status.state === 'down'
  useEffect(() => {
    const poll = setInterval(
      () => void client.invalidateQueries({ predicate: (q) => (down ? q.queryKey[0] !== 'me' : growing.includes(String(q.queryKey[0]))) }),
      down ? pollWhenDown : pollAlways,
    )
    return () => clearInterval(poll)
  }, [client, down])

  return <Status.Provider value={status}>{children}</Status.Provider>
}

/** Makes queries stale, each topic at most every moment: a burst of messages is one read. */
class Refresher {
  private readonly pending = new Map<string, ReturnType<typeof setTimeout>>()
  private readonly last = new Map<string, number>()

  constructor(private readonly client: QueryClient) {}

  take(message: LiveMessage): void {
    if (message.topic === 'reset') {
      void this.client.invalidateQueries({ predicate: (q) => q.queryKey[0] !== 'me' })
      return
    }
    for (const key of stale[message.topic] ?? []) this.soon(key)
  }

  stop(): void {
    for (const timer of this.pending.values()) clearTimeout(timer)
    this.pending.clear()
  }

  private soon(key: string): void {
    if (this.pending.has(key)) return
    const wait = Math.max(0, (this.last.get(key) ?? 0) + atMostEvery - Date.now())
    this.pending.set(
      key,
      setTimeout(() => {
        this.pending.delete(key)
        this.last.set(key, Date.now())
        void this.client.invalidateQueries({ queryKey: [key] })
      }, wait),
    )
  }
}
