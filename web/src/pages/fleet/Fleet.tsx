// Which version of what runs where, what is being rolled out, and how each plugin is kept up to date.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { fleet, rollouts, type Fleet, type FleetPlugin } from '../../api/market'
import { useMay } from '../../api/useMay'
import { count } from '../../lib/format'
import '../../locales/market'
import '../../locales/plugins'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded } from '../../ui/states'
import { Groups } from './Groups'
import { Matrix } from './Matrix'
import { PolicyDialog } from './Policy'
import { Rollouts } from './Rollouts'
import { RolloutDialog } from './RolloutDialog'

export function FleetPage() {
  const { t } = useTranslation()
  const query = useQuery(fleet)
  return (
    <Page title={t('fleet.title')} lead={t('fleet.lead')} actions={<Button component="a" href="/api/v1/fleet/lock" download="plugins.lock" variant="default">{t('fleet.lock')}</Button>}>
      <Loaded query={query} rows={8}>{(f) => <Sections fleet={f} />}</Loaded>
    </Page>
  )
}

function Sections({ fleet: f }: { fleet: Fleet }) {
  const { t } = useTranslation()
  const can = useMay()
  const list = useQuery(rollouts)
  const [updating, setUpdating] = useState<FleetPlugin | null>(null)
  const [policy, setPolicy] = useState<FleetPlugin | null>(null)
  const running = f.plugins.filter((p) => p.versions.length > 0)
  return (
    <>
      {updating && <RolloutDialog plugin={updating} onClose={() => setUpdating(null)} />}
      {policy && <PolicyDialog plugin={policy} groups={f.groups} onClose={() => setPolicy(null)} />}
      <Rollouts query={list} fleet={f} />
      <Panel title={t('fleet.versions')} hint={t('fleet.counts', { plugins: t('fleet.plugins', { count: running.length }), nodes: t('fleet.nodes', { count: f.nodes.length, n: count(f.nodes.length) }) })} flush>
        {running.length === 0 ? <Empty title={t('fleet.nothing')}>{t('fleet.nothingText')}</Empty>
          : <Matrix fleet={f} onUpdate={can('administer') ? setUpdating : undefined} onPolicy={can('administer') ? setPolicy : undefined} />}
      </Panel>
      <Groups fleet={f} />
    </>
  )
}
