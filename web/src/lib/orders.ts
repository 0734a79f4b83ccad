// How far an order is, in the order in which commands go through their states.
const states = ['waiting', 'queued', 'sent', 'done', 'failed', 'refused', 'cancelled', 'denied', 'expired'] as const
export type CommandState = (typeof states)[number]

/** The states that some command is in, with how many. */
export function progressOf(progress: Record<string, number>): { state: CommandState; count: number }[] {
  return states.flatMap((state) => (progress[state] ? [{ state, count: progress[state] }] : []))
}

/** Whether something may still happen, so that it can be cancelled. */
export const isOpen = (progress: Record<string, number>): boolean => ['waiting', 'queued', 'sent'].some((s) => (progress[s] ?? 0) > 0)

/** The arguments as they go to the server, undefined for none; null for what is no JSON object. */
export function readArgs(text: string): object | undefined | null {
  if (text.trim() === '') return undefined
  try {
    const v: unknown = JSON.parse(text)
    return typeof v === 'object' && v !== null && !Array.isArray(v) ? v : null
  } catch {
    return null
  }
}
