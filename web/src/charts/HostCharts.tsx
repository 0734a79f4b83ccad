// The four charts of a machine: CPU, memory, disk and network, all over the same range and pointing at one moment.
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { useSeries, type SeriesData } from '../api/useSeries'
import { bytes, percent } from '../lib/format'
import { latest, shares, sumBy, windowStart, type Line } from '../lib/series'
import { Problem } from '../ui/states'
import css from './charts.module.css'
import { TimeChart, type ChartLine } from './TimeChart'

interface Props {
  agent: string
  rangeSeconds: number
  /** A part of that time, when somebody chose one. */
  part?: { from: number; to: number }
  onZoom?: (from: number, to: number) => void
}

export function HostCharts({ agent, rangeSeconds, part, onZoom }: Props) {
  const { t } = useTranslation()
  const [at, setAt] = useState<number | null>(null)
  const [opened] = useState(() => Date.now())
  const cpu = useSeries({ metric: 'system.cpu.time', agent, rate: true }, rangeSeconds, part)
  const memory = useSeries({ metric: 'system.memory.usage', agent, agg: 'last' }, rangeSeconds, part)
  const disk = useSeries({ metric: 'system.disk.io', agent, rate: true }, rangeSeconds, part)
  const network = useSeries({ metric: 'system.network.io', agent, rate: true }, rangeSeconds, part)

  const cpuLines = useMemo(() => cpuModes(cpu.data), [cpu.data])
  const memoryLines = useMemo(() => memoryStates(memory.data), [memory.data])
  const diskLines = useMemo(() => directions(disk.data, 'disk.io.direction', 'read', 'write'), [disk.data])
  const networkLines = useMemo(() => directions(network.data, 'network.io.direction', 'receive', 'transmit'), [network.data])

  const failed = [cpu, memory, disk, network].find((q) => q.isError)
  const all = [cpu.data, memory.data, disk.data, network.data]
  const to = part?.to ?? Math.max(opened, ...all.map((d) => d?.to ?? 0))
  const from = part?.from ?? windowStart(all.flatMap((d) => d?.series ?? []), to - rangeSeconds * 1000, to)
  const shared = (q: { data?: SeriesData }) => ({
    from,
    to,
    stepSeconds: q.data?.step_seconds ?? 10,
    at,
    onPoint: setAt,
    onZoom,
  })
  return (
    <>
      {failed && <Problem error={failed.error} retry={() => void failed.refetch()} />}
      <div className={css.room}>
        <div className={css.grid}>
        <TimeChart title={t('host.cpu')} unit="1" stacked max={1} lines={cpuLines.busy} headline={cpuLines.headline} {...shared(cpu)} />
        <TimeChart title={t('host.memory')} unit="By" stacked max={memoryLines.total} lines={memoryLines.lines} headline={memoryLines.headline} {...shared(memory)} />
        <TimeChart title={t('host.disk')} unit="By/s" lines={diskLines} headline={sum(diskLines)} {...shared(disk)} />
        <TimeChart title={t('host.network')} unit="By/s" lines={networkLines} headline={sum(networkLines)} {...shared(network)} />
        </div>
      </div>
    </>
  )
}

const modeColors: Record<string, string> = { user: 'c1', system: 'c2', iowait: 'c3', steal: 'c5', nice: 'c4' }

function cpuModes(data: SeriesData | undefined) {
  const modes = shares(sumBy(data?.series ?? [], (l) => l['cpu.mode'] ?? 'user'))
  const idle = modes.find((m) => m.name === 'idle')
  // The four that tell most get a line each, what is left one together.
  const named = ['user', 'system', 'iowait', 'steal']
  const rest = modes.filter((m) => m.name !== 'idle' && !named.includes(m.name))
  const busy: ChartLine[] = named.flatMap((name) => {
    const line = modes.find((m) => m.name === name)
    return line && (name !== 'steal' || line.points.some(([, v]) => v !== null && v > 0.005)) ? [{ ...line, color: modeColors[name]! }] : []
  })
  if (rest.length > 0) {
    const other = sumBy(rest.map((m) => ({ labels: {}, points: m.points })), () => 'other')[0]
    if (other?.points.some(([, v]) => v !== null && v > 0.005)) busy.push({ ...other, color: 'c6' })
  }
  const now = idle && latest(idle.points)
  return { busy, headline: { value: now ? percent(1 - now[1]) : '–' } }
}

function memoryStates(data: SeriesData | undefined) {
  const states = sumBy(data?.series ?? [], (l) => l['system.memory.state'] ?? 'used')
  const total = states.reduce((all, s) => all + (latest(s.points)?.[1] ?? 0), 0)
  const colors: Record<string, string> = { used: 'c1', cached: 'c2', buffered: 'c4', buffers: 'c4' }
  const lines = Object.keys(colors).flatMap((name): ChartLine[] => {
    const line = states.find((s) => s.name === name)
    return line ? [{ ...line, color: colors[name]! }] : []
  })
  const used = lines[0] && latest(lines[0].points)
  return {
    lines,
    total: total > 0 ? total : undefined,
    headline: used ? { value: bytes(used[1]), note: total > 0 ? `/ ${bytes(total)}` : undefined } : { value: '–' },
  }
}

function directions(data: SeriesData | undefined, label: string, first: string, second: string): ChartLine[] {
  // The loopback interface talks to itself: its traffic would count twice and drown the rest.
  const series = (data?.series ?? []).filter((s) => s.labels['network.interface.name'] !== 'lo')
  const lines = sumBy(series, (l) => l[label] ?? '')
  return [first, second].flatMap((name, i): ChartLine[] => {
    const line = lines.find((l) => l.name === name)
    return line ? [{ ...line, color: i === 0 ? 'c1' : 'c3' }] : []
  })
}

function sum(lines: Line[]): { value: string } {
  const values = lines.map((l) => latest(l.points)?.[1]).filter((v) => v !== undefined)
  return { value: values.length > 0 ? `${bytes(values.reduce((a, b) => a + b, 0))}/s` : '–' }
}
