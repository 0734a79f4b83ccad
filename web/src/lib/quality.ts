// The quality figures of a capture, in the order people read them.
import type { Capture, CaptureQuality } from '../api/types'

/** Share of the packets that a decoder understood. */
export const understood = (c: Pick<Capture, 'packets' | 'undecoded'>): number => (c.packets > 0 ? Math.max(0, c.packets - c.undecoded) / c.packets : 0)

const order = ['flow', 'fragment', 'not-ip', 'malformed', 'unsupported']

/** Packets by what became of them; what never happened is left out. */
export function outcomesOf(q: Pick<CaptureQuality, 'outcomes'>): [string, number][] {
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length)
  return Object.entries(q.outcomes).filter(([, n]) => n > 0).toSorted(([a], [b]) => place(a) - place(b))
}

/** Counts by name, the largest first; what never happened is left out. */
export const counted = (counts: Record<string, number> | undefined): [string, number][] =>
  Object.entries(counts ?? {}).filter(([, n]) => n > 0).toSorted(([, a], [, b]) => b - a)

export const layersOf = (q: Pick<CaptureQuality, 'layers'>): [string, number][] => counted(q.layers)

/** Nothing was lost while recording or could not be put together. */
export function isGood(q: CaptureQuality): boolean {
  const faults = [q.dropped, q.short, q.fragments_given_up, q.fragment_overlaps, q.stream_gaps, q.stream_conflicts, q.given_up, q.panics, q.outcomes.malformed, q.outcomes.unsupported]
  return faults.every((n) => !n) && !q.notes?.length
}

const links: Record<number, string> = {
  0: 'Loopback (BSD)', 1: 'Ethernet', 9: 'PPP', 12: 'Raw IP', 101: 'Raw IP', 105: '802.11', 108: 'Loopback (OpenBSD)', 113: 'Linux cooked', 119: '802.11 with Prism', 127: '802.11 with radiotap',
  147: 'User 0', 192: 'PPI', 195: '802.15.4', 228: 'Raw IPv4', 229: 'Raw IPv6', 276: 'Linux cooked v2',
}

/** The name of a link type as pcap numbers them. */
export const linkType = (n: number): string => links[n] ?? `DLT ${n}`
