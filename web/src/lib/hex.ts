// Bytes as people read them: rows of sixteen, in hex and as text, with the bytes of one field marked.

export interface HexRow {
  offset: number
  bytes: string[]
  text: string[]
}

/** "0a1b" → bytes. Ends at what is no hex. */
export function bytesOf(hex: string): Uint8Array {
  const found = /^(?:[0-9a-f]{2})*/i.exec(hex)?.[0] ?? ''
  return Uint8Array.from({ length: found.length / 2 }, (_, i) => parseInt(found.slice(2 * i, 2 * i + 2), 16))
}

export function hexRows(bytes: Uint8Array, width = 16): HexRow[] {
  const rows: HexRow[] = []
  for (let offset = 0; offset < bytes.length; offset += width) {
    const part = [...bytes.subarray(offset, offset + width)]
    rows.push({
      offset,
      bytes: part.map((b) => b.toString(16).padStart(2, '0')),
      text: part.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '.')),
    })
  }
  return rows
}

/** Where in the bytes of a packet something lies. */
export interface Span {
  offset: number
  length: number
}

export const covers = ({ offset, length }: Span, at: number): boolean => at >= offset && at < offset + length

/** The smallest of these that holds a byte: the field rather than its layer. */
export function innermost<T extends Span>(spans: readonly T[], at: number): T | undefined {
  return spans.filter((s) => covers(s, at)).toSorted((a, b) => a.length - b.length)[0]
}
