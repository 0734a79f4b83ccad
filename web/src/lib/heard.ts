// Facts that belong to no flow, each line once.
import { packetsText } from './packetNumbers'

interface Line {
  text: string
  times: number
  /** Where to look, as an address holds it: the first packets that said so. */
  packets: string
}

const linesShown = 12
const packetsShown = 50

/** What was said, in the order in which it was heard first; what was said again is counted. */
export function heard<T extends { packet: number; time: string }>(facts: readonly T[], say: (fact: T) => { text: string }): Line[] {
  const lines = new Map<string, number[]>()
  for (const f of facts.toSorted((a, b) => a.time.localeCompare(b.time) || a.packet - b.packet)) {
    const { text } = say(f)
    const packets = lines.get(text)
    if (packets) packets.push(f.packet)
    else lines.set(text, [f.packet])
  }
  return [...lines].slice(0, linesShown).map(([text, packets]) => ({ text, times: packets.length, packets: packetsText(packets.slice(0, packetsShown)) }))
}
