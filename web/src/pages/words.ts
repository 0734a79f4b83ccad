// Phrases that several pages share.

/** "a → b", or whichever end is known. */
export function between(src: string, dst: string): string {
  if (src && dst) return `${src} → ${dst}`
  return src || dst || '–'
}
