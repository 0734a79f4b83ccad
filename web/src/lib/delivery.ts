// What a receipt of a notifier allows. It comes from another system, so nothing of it is taken for granted.
import type { Notice } from '../api/types'

/** An address that may stand behind a link: a page on the web, and nothing that runs or names a user. */
export function webLink(url: string | undefined): string | undefined {
  if (!url || !URL.canParse(url)) return undefined
  const u = new URL(url)
  return ['http:', 'https:'].includes(u.protocol) && !u.username && !u.password ? u.href : undefined
}

/** Whether a delivery can be taken back, and has not been yet. */
export const canUndo = (n: Pick<Notice, 'receipt' | 'outcome'>): boolean => n.receipt?.undoable === true && n.outcome !== 'undone'
