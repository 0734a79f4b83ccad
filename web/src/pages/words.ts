// Phrases that several pages share.

/** "a → b", or whichever end is known. */
export function between(src: string, dst: string): string {
  if (src && dst) return `${src} → ${dst}`
  return src || dst || '–'
}

/** An exact or unit-less share from 0 to 1 as whole percent. */
export const wholePercent = (ratio: number): string => `${Math.round(ratio * 100)}\u202f%`
