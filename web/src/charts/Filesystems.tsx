import { useTranslation } from 'react-i18next'
import { useSeries } from '../api/useSeries'
import { bytes } from '../lib/format'
import { latest } from '../lib/series'
import '../locales/machines'
import { Meter } from '../ui/marks'
import { Panel } from '../ui/Page'
import css from './charts.module.css'

/** How full the file systems of a machine are, the fullest first. */
export function Filesystems({ agent }: { agent: string }) {
  const { t } = useTranslation()
  const usage = useSeries({ metric: 'system.filesystem.usage', agent, agg: 'last' }, 900)
  const mounts = new Map<string, { used: number; total: number }>()
  for (const s of usage.data?.series ?? []) {
    const value = latest(s.points)
    const mount = s.labels['system.filesystem.mountpoint']
    if (!value || !mount) continue
    const m = mounts.get(mount) ?? { used: 0, total: 0 }
    mounts.set(mount, { used: m.used + (s.labels['system.filesystem.state'] === 'used' ? value[1] : 0), total: m.total + value[1] })
  }
  const rows = [...mounts].toSorted(([, a], [, b]) => b.used / b.total - a.used / a.total)
  if (rows.length === 0) return null
  return (
    <Panel title={t('machine.filesystems')}>
      <ul className={css.filesystems}>
        {rows.map(([mount, { used, total }]) => (
          <li key={mount}>
            <span className="mono break">{mount}</span>
            <span className="num dim">{t('machine.of', { used: bytes(used), total: bytes(total) })}</span>
            <Meter value={Math.round((used / total) * 100)} of={100} label={mount} tone={used / total > 0.9 ? 'bad' : undefined} />
          </li>
        ))}
      </ul>
    </Panel>
  )
}
