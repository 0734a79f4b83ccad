import type { Device } from '../api/types'

/** The name people know a device by: a host name, else an address, one of its link (which says only its MAC) last. */
export function deviceName(d: Pick<Device, 'id'> & Partial<Pick<Device, 'hostnames' | 'ips' | 'macs'>>): string {
  return d.hostnames?.[0] ?? d.ips?.find((ip) => !/^fe[89ab]/i.test(ip)) ?? d.ips?.[0] ?? d.macs?.[0] ?? d.id
}
