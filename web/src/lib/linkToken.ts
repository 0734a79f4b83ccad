/** The token that a one-time link carries in its fragment, which no browser sends anywhere. */
export function tokenIn(hash: string): string | null {
  return new URLSearchParams(hash.replace(/^#/, '')).get('token') || null
}
