import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { fleet } from '../../api/market'
import { pluginPath } from '../../api/queries'
import type { Plugin } from '../../api/types'
import { useMay } from '../../api/useMay'
import { newness } from '../../lib/versions'
import '../../locales/market'
import { StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import css from '../plugins.module.css'

const PolicyDialog = lazy(() => import('../fleet/Policy').then((m) => ({ default: m.PolicyDialog })))

/** How a plugin is kept up to date, and whether there is something newer. */
export function Updates({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const can = useMay()
  const { data } = useQuery(fleet)
  const [open, setOpen] = useState(false)
  const here = data?.plugins.find((f) => f.id === p.id)
  if (!data || !here) return null
  const is = newness(here.newest, [here.wanted, ...Object.values(here.wanted_by_group ?? {})])
  return (
    <Panel title={t('policy.title')} hint={<Link to="/market/$ns/$name" params={pluginPath(p.id)}>{t('policy.market')}</Link>}>
      <div className={css.versions}>
        <p>
          {is === 'none' ? <StateMark tone="bad">{p.revoked ? t('override.allRevoked') : t('policy.none')}</StateMark>
            : is === 'older' ? <StateMark tone="busy">{t('policy.newer', { version: here.newest })}</StateMark>
            : is === 'withdrawn' ? <StateMark tone="warn">{t('policy.behind', { version: here.newest })}</StateMark>
            : <StateMark tone="good">{t('policy.newest')}</StateMark>}
        </p>
        <p>{t(`policy.is.${here.policy.auto}`, { count: here.policy.cooldown_days })}.{here.policy.waiting && <span className="dim"> {here.policy.waiting}</span>}</p>
        {can('administer') && <p><Button size="xs" variant="default" onClick={() => setOpen(true)}>{t('policy.button')}</Button></p>}
      </div>
      {open && <Suspense><PolicyDialog plugin={here} groups={data.groups} onClose={() => setOpen(false)} /></Suspense>}
    </Panel>
  )
}
