import { useTranslation } from 'react-i18next'
import type { PluginInstance } from '../../api/types'
import { useSeries } from '../../api/useSeries'
import { seriesOf } from '../../charts/InstanceCharts'
import { bytes, count, duration, number } from '../../lib/format'
import { latest, sumBy } from '../../lib/series'
import { limitRows, type LimitRow } from '../../lib/usage'
import '../../locales/plugins'
import { Meter } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import css from '../plugins.module.css'

/** What the process is held to, and how near it is. */
export function Limits({ instance: i }: { instance: PluginInstance }) {
  const { t } = useTranslation()
  const cpu = useSeries({ metric: 'picket.plugin.cpu.time', ...seriesOf(i), rate: true }, 3600)
  const line = cpu.data && sumBy(cpu.data.series, () => '')[0]
  const now = line && i.pid ? latest(line.points)?.[1] : undefined
  const rows = limitRows(i.limits, i.ledger, now)
  const show = (r: LimitRow, v: number) => {
    switch (r.name) {
      case 'memory': return bytes(v)
      case 'cpu': return number(Number(v.toFixed(2)))
      case 'deadline': return duration(v)
      default: return count(Math.round(v))
    }
  }
  return (
    <Panel title={t('plugin.limits')} hint={t('plugin.limitsHint')}>
      {rows.length === 0 ? <p className="dim">{t('plugin.noLimits')}</p> : (
        <ul className={css.limits}>
          {rows.map((r) => (
            <li key={r.name}>
              <span>{t(`plugin.limit.${r.name}`)}</span>
              <span className="num">{r.now !== undefined && <>{show(r, r.now)} <span className="dim">{t('plugin.of')}</span> </>}{show(r, r.limit)}</span>
              {r.now !== undefined && <Meter value={r.now} of={r.limit} label={t(`plugin.limit.${r.name}`)} tone={r.now > 0.9 * r.limit ? 'bad' : undefined} />}
              {!!r.hits && <span className={css.hit}>{t(`plugin.limitHits.${r.name === 'log' ? 'log' : 'records'}`, { count: r.hits, n: count(r.hits) })}</span>}
            </li>
          ))}
        </ul>
      )}
      {i.ledger.throttled_seconds >= 0.1 && <p className={css.hit}>{t('plugin.throttled', { time: duration(i.ledger.throttled_seconds) })}</p>}
    </Panel>
  )
}
