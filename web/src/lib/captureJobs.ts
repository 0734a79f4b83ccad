// What can be done with captures, alone and several together.
import type { Capture } from '../api/types'

export const captureDeeds = ['cancel', 'resume', 'analyse', 'first', 'delete'] as const
export type CaptureDeed = (typeof captureDeeds)[number]

const allowed: Record<CaptureDeed, readonly Capture['state'][] | 'any'> = {
  cancel: ['queued', 'running'],
  resume: ['stopped', 'failed'],
  analyse: ['done', 'failed', 'stopped'],
  first: ['queued'],
  delete: 'any',
}

/** Whether the server would do it in the capture's state. */
export function canDo(deed: CaptureDeed, c: Pick<Capture, 'state'>): boolean {
  const states = allowed[deed]
  return states === 'any' || states.includes(c.state)
}

/** The deeds that at least one of the captures admits; analysing again is not offered where resuming is the word for it. */
export function deedsFor(captures: readonly Pick<Capture, 'state'>[], mayDelete: boolean): CaptureDeed[] {
  return captureDeeds.filter((deed) => {
    if (deed === 'delete') return mayDelete && captures.length > 0
    if (deed === 'analyse') return captures.some((c) => c.state === 'done')
    return captures.some((c) => canDo(deed, c))
  })
}

export interface Outcome {
  done: number
  /** The first refusal, when there was one. */
  error?: unknown
}

/** Does it to one capture after the other. What fails keeps none of the others from it. */
export async function forEach(ids: readonly string[], act: (id: string) => Promise<unknown>): Promise<Outcome> {
  const outcome: Outcome = { done: 0 }
  for (const id of ids) {
    try {
      await act(id)
      outcome.done++
    } catch (error) {
      outcome.error ??= error
    }
  }
  return outcome
}
