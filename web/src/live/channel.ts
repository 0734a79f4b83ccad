// The live channel: a WebSocket that tells which data has changed. It resumes from the last message it saw; when the
// server no longer has what came since, it says "reset" and everything is read again. Pages keep working without it.
import type { LiveMessage } from '../api/types'

export type LiveState = 'connecting' | 'open' | 'down'

export interface LiveStatus {
  state: LiveState
  /** When the last message or connection was seen, in ms; null before the first. */
  seen: number | null
}

/** What the channel needs of the browser, so that a test can stand in for it. */
export interface LiveWorld {
  open: (url: string) => LiveSocket
  now: () => number
  later: (run: () => void, ms: number) => number
  cancel: (timer: number) => void
  random: () => number
}

export interface LiveSocket {
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: (() => void) | null
  close: () => void
}

const firstWait = 1000
const longestWait = 30_000

export class LiveChannel {
  private socket: LiveSocket | null = null
  private cursor: string | null = null
  private failures = 0
  private timer: number | null = null
  private wanted = false
  private status: LiveStatus = { state: 'connecting', seen: null }

  constructor(
    private readonly url: string,
    private readonly world: LiveWorld,
    private readonly onMessage: (message: LiveMessage) => void,
    private readonly onStatus: (status: LiveStatus) => void,
  ) {}

  start(): void {
    if (this.wanted) return
    this.wanted = true
    this.connect()
  }

  stop(): void {
    this.wanted = false
    if (this.timer !== null) this.world.cancel(this.timer)
    this.timer = null
    const socket = this.socket
    this.socket = null
    socket?.close()
  }

  /** Tries now instead of after the pause, for example when the browser is back online. */
  retry(): void {
    if (!this.wanted || this.timer === null) return
    this.world.cancel(this.timer)
    this.timer = null
    this.connect()
  }

  private connect(): void {
    const since = this.cursor === null ? '' : `?since=${encodeURIComponent(this.cursor)}`
    const socket = this.world.open(this.url + since)
    this.socket = socket
    socket.onopen = () => {
      this.failures = 0
      this.report('open')
    }
    socket.onmessage = (event) => this.receive(event.data)
    socket.onclose = () => this.closed(socket)
  }

  private receive(data: unknown): void {
    const message = parse(data)
    if (!message) return
    if (message.id !== undefined) this.cursor = String(message.id)
    this.report('open')
    this.onMessage(message)
  }

  private closed(socket: LiveSocket): void {
    if (socket !== this.socket) return
    this.socket = null
    if (!this.wanted) return
    this.report('down')
    const wait = Math.min(longestWait, firstWait * 2 ** this.failures++)
    // Half the pause is random: many pages must not come back in the same instant after a restart.
    this.timer = this.world.later(
      () => {
        this.timer = null
        this.connect()
      },
      wait / 2 + (wait / 2) * this.world.random(),
    )
  }

  private report(state: LiveState): void {
    this.status = { state, seen: state === 'open' ? this.world.now() : this.status.seen }
    this.onStatus(this.status)
  }
}

function parse(data: unknown): LiveMessage | null {
  if (typeof data !== 'string') return null
  try {
    const message: unknown = JSON.parse(data)
    if (typeof message !== 'object' || message === null || !('topic' in message)) return null
    return message as LiveMessage
  } catch {
    return null
  }
}
