// Numbers of packets as an address holds them: "3-7,12".

/** The server takes no more packets out of a capture at once. */
export const packetsAtOnce = 1000

/** Numbers in order, each once, as runs: [3, 7], [12, 12]. */
export function runs(numbers: readonly number[]): [number, number][] {
  const sorted = [...new Set(numbers)].toSorted((a, b) => a - b)
  const found: [number, number][] = []
  for (const n of sorted) {
    const last = found.at(-1)
    if (last && n === last[1] + 1) last[1] = n
    else found.push([n, n])
  }
  return found
}

export const packetsText = (numbers: readonly number[]): string => runs(numbers).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join()

/** Reads what packetsText wrote, or somebody typed: as many as the server takes at once. What is no number is left out. */
export function readPackets(text: string): number[] {
  const found = new Set<number>()
  for (const part of text.split(',')) {
    const run = /^\s*(\d{1,15})(?:-(\d{1,15}))?\s*$/.exec(part)
    if (!run) continue
    const [from, to] = [Number(run[1]), Number(run[2] ?? run[1])]
    for (let n = Math.max(1, from); n <= to && found.size < packetsAtOnce; n++) found.add(n)
  }
  return [...found].toSorted((a, b) => a - b)
}
