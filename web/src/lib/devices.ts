import type { Device } from '../api/types'

/** The name people know a device by: a host name or what it calls itself, else an address, one of its link (which says only its MAC) last. */
export function deviceName(d: Pick<Device, 'id'> & Partial<Pick<Device, 'hostnames' | 'ips' | 'macs' | 'facts'>>): string {
  return d.hostnames?.[0] ?? d.facts?.name?.value ?? d.ips?.find((ip) => !/^fe[89ab]/i.test(ip)) ?? d.ips?.[0] ?? d.macs?.[0] ?? d.id
}

/** Hours of a day, in order, as the times from which to which they go: 9, 10, 11, 15 is "09–12, 15–16". */
export function spans(hours: number[]): string {
  const out: [number, number][] = []
  for (const h of hours) {
    const last = out[out.length - 1]
    if (last?.[1] === h) last[1] = h + 1
    else out.push([h, h + 1])
  }
  const two = (n: number) => String(n).padStart(2, '0')
  return out.map(([from, to]) => `${two(from)}–${two(to)}`).join(', ')
}
