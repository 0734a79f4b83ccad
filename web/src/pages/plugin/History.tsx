import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { instanceHistory } from '../../api/queries'
import type { PluginInstance } from '../../api/types'
import '../../locales/plugins'
import { State } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Loaded } from '../../ui/states'
import { Time } from '../../ui/Time'
import css from '../plugins.module.css'

const shownAtFirst = 8

/** What happened to an instance, the latest first. */
export function History({ instance: i }: { instance: PluginInstance }) {
  const { t } = useTranslation()
  const query = useQuery(instanceHistory(i))
  const [all, setAll] = useState(false)
  return (
    <Panel title={t('plugin.history')}>
      <Loaded query={query}>
        {({ items }) => {
          const latestFirst = items.toReversed()
          const shown = all ? latestFirst : latestFirst.slice(0, shownAtFirst)
          return items.length === 0 ? <p className="dim">{t('plugin.noHistory')}</p> : (
            <>
              <ol className={css.history} aria-label={t('plugin.history')}>
                {shown.map((h, n) => (
                  <li key={items.length - n} data-state={h.state}>
                    <div className={css.event}>
                      <State of={h.state} />
                      {h.version && <span className="dim num">{h.version}</span>}
                      <Time at={h.time} />
                    </div>
                    {h.reason && <p>{h.reason}</p>}
                  </li>
                ))}
              </ol>
              {items.length > shownAtFirst && (
                <Button size="compact-xs" variant="default" mt={8} aria-expanded={all} onClick={() => setAll(!all)}>
                  {all ? t('plugin.historyLess') : t('plugin.historyAll', { count: items.length })}
                </Button>
              )}
            </>
          )
        }}
      </Loaded>
    </Panel>
  )
}
