// Which rows of a long list are drawn: those in view and some around them. All rows have one height.

export interface Window {
  /** The rows that are drawn: first ≤ i < end. */
  first: number
  end: number
  /** Heights of what is left out above and below. */
  before: number
  after: number
}

export function windowOf(scrollTop: number, viewport: number, rowHeight: number, count: number, around = 8): Window {
  const first = Math.max(0, Math.min(count, Math.floor(scrollTop / rowHeight)) - around)
  const end = Math.min(count, Math.ceil((Math.max(0, scrollTop) + viewport) / rowHeight) + around)
  return { first: Math.min(first, end), end, before: Math.min(first, end) * rowHeight, after: (count - end) * rowHeight }
}

/** Where to scroll so that a row is in view below a heading that stays; where it is, when it is already. */
export function scrollFor(row: number, scrollTop: number, viewport: number, rowHeight: number, heading = 0): number {
  const top = row * rowHeight
  if (top < scrollTop) return top
  const bottom = top + rowHeight + heading
  return bottom > scrollTop + viewport ? bottom - viewport : scrollTop
}

/** The row that a key leads to, or null when the key has another meaning. */
export function rowAfterKey(key: string, row: number, count: number, page: number): number | null {
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[key]
  if (step === undefined || count === 0) return null
  return Math.max(0, Math.min(count - 1, row + step))
}
