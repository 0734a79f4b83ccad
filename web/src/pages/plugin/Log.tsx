import { SegmentedControl } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { PluginInstance } from '../../api/types'
import { atLeast, logLevels, type LogLevel } from '../../lib/usage'
import '../../locales/plugins'
import { Panel } from '../../ui/Page'
import { Time } from '../../ui/Time'
import css from '../plugins.module.css'

/** The last lines that the plugin wrote, from a level upwards. */
export function Log({ instance: i }: { instance: PluginInstance }) {
  const { t } = useTranslation()
  const [least, setLeast] = useState<LogLevel>('debug')
  const lines = i.log_tail.filter((l) => atLeast(l.level, least))
  const hidden = i.log_tail.length - lines.length
  return (
    <Panel title={t('plugin.log')} hint={i.log_tail.length > 0 && t('plugin.logHint', { count: i.log_tail.length })}
      actions={<SegmentedControl size="xs" aria-label={t('plugin.logLevel')} value={least} onChange={(l) => setLeast(l as LogLevel)}
        data={logLevels.map((l) => ({ value: l, label: t(`plugin.levels.${l}`) }))} />}>
      {lines.length > 0 ? (
        <ol className={css.log} tabIndex={0} aria-label={t('plugin.log')}>
          {lines.map((line, n) => (
            <li key={n} data-level={line.level}>
              <Time at={line.time} />
              <span className={css.level}>{line.level}</span>
              <span>{line.text}</span>
            </li>
          ))}
        </ol>
      ) : <p className="dim">{hidden > 0 ? t('plugin.logFiltered', { count: hidden }) : t('plugin.noLog')}</p>}
      {i.ledger.log_dropped > 0 && <p className="dim">{t('plugin.dropped', { count: i.ledger.log_dropped })}</p>}
    </Panel>
  )
}
