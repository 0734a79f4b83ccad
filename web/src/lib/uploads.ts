// Files on their way to the server: a few at a time, the others wait. The queue lives beside the pages, so that files go
// on while somebody looks at something else.

export type UploadState = 'waiting' | 'sending' | 'failed' | 'stopped'

export interface Upload {
  key: number
  name: string
  size: number
  state: UploadState
  /** Share of the file that was sent; 1 while the server stores it. */
  progress: number
  error?: unknown
}

export type Send = (file: File, onProgress: (fraction: number) => void, signal: AbortSignal) => Promise<unknown>

interface Entry extends Upload {
  file: File
  call?: AbortController
}

export class UploadQueue {
  private entries: Entry[] = []
  private shown: readonly Upload[] = []
  private readonly watchers = new Set<() => void>()
  private next = 0

  constructor(
    private readonly send: Send,
    private readonly onStored: () => void,
    private readonly atOnce = 2,
  ) {}

  readonly get = (): readonly Upload[] => this.shown

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher)
    return () => void this.watchers.delete(watcher)
  }

  add(files: readonly File[]): void {
    this.entries.push(...files.map((file) => ({ key: this.next++, name: file.name, size: file.size, state: 'waiting' as const, progress: 0, file })))
    this.work()
  }

  /** Ends a file that is sent or waits. It stays in the list, so that it can be sent again. */
  stop(key: number): void {
    this.end(this.entries.filter((e) => e.key === key))
  }

  stopAll(): void {
    this.end(this.entries)
  }

  retry(key: number): void {
    for (const e of this.entries) if (e.key === key && isOver(e)) Object.assign(e, { state: 'waiting', progress: 0, error: undefined })
    this.work()
  }

  dismiss(key: number): void {
    this.entries = this.entries.filter((e) => e.key !== key || !isOver(e))
    this.tell()
  }

  dismissAll(): void {
    this.entries = this.entries.filter((e) => !isOver(e))
    this.tell()
  }

  private end(entries: Entry[]): void {
    for (const e of entries) {
      if (isOver(e)) continue
      e.state = 'stopped'
      e.call?.abort()
    }
    this.work()
  }

  private work(): void {
    let running = this.entries.filter((e) => e.state === 'sending').length
    for (const e of this.entries) {
      if (running >= this.atOnce) break
      if (e.state !== 'waiting') continue
      running++
      this.start(e)
    }
    this.tell()
  }

  private start(e: Entry): void {
    const call = new AbortController()
    e.state = 'sending'
    e.call = call
    // Somebody may stop a file and send it again before the first call has ended: only the latest call counts.
    const current = () => e.call === call && e.state === 'sending'
    const onProgress = (progress: number) => {
      if (!current()) return
      e.progress = progress
      this.tell()
    }
    this.send(e.file, onProgress, call.signal).then(
      () => {
        if (!current()) return
        this.entries = this.entries.filter((other) => other !== e)
        this.onStored()
        this.work()
      },
      (error: unknown) => {
        if (!current()) return
        Object.assign(e, { state: 'failed', error })
        this.work()
      },
    )
  }

  private tell(): void {
    this.shown = this.entries.map(({ key, name, size, state, progress, error }) => ({ key, name, size, state, progress, error }))
    for (const watcher of this.watchers) watcher()
  }
}

/** Nothing happens to it any more by itself. */
export const isOver = (u: Pick<Upload, 'state'>): boolean => u.state === 'failed' || u.state === 'stopped'
