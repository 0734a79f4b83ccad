// Everything about one instance: how it stands, what it costs, what it may do, which version runs, what it wrote.
import { Button, Group } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../../api/actions'
import { explanation } from '../../api/queries'
import type { Plugin, PluginInstance } from '../../api/types'
import { useMay } from '../../api/useMay'
import { InstanceCharts } from '../../charts/InstanceCharts'
import { asObject } from '../../lib/configForm'
import { bytes, count, duration } from '../../lib/format'
import '../../locales/captures'
import '../../locales/plugins'
import { State, StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Permissions } from '../../ui/Permissions'
import { useRange } from '../../ui/Range'
import { Problem } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from '../plugins.module.css'
import { Confinement } from './Confinement'
import { Grants } from './Grants'
import { History } from './History'
import { Limits } from './Limits'
import { Log } from './Log'
import { Measured } from './Measured'
import { runsUnsigned, UnsignedMark } from './TrustMark'
import { Versions } from './Versions'

// Few visits need the whole chain.
const ExplainDrawer = lazy(() => import('./ExplainDrawer'))

interface Props {
  plugin: Plugin
  instance: PluginInstance
}

export function InstanceView({ plugin: p, instance: i }: Props) {
  const { t } = useTranslation()
  const why = useQuery(explanation(i))
  const range = useRange('1h', t('plugin.use'))
  return (
    <div className={ui.columns}>
      <div className={ui.stack}>
        <Standing plugin={p} instance={i} />
        {p.metrics.length > 0 && <Measured plugin={p} instance={i} />}
        <Versions key={`${i.node.id}/${i.instance}`} plugin={p} instance={i} />
        <Panel title={t('plugin.use')} actions={range.control}><InstanceCharts instance={i} rangeSeconds={range.seconds} /></Panel>
        {why.data ? <Grants explanation={why.data} config={asObject(i.config)} />
          : <Panel title={t('plugin.permissions')} hint={t('plugin.permissionsHint')}>
              {why.isError && <Problem error={why.error} retry={() => void why.refetch()} />}
              <Permissions permissions={p.permissions} />
            </Panel>}
        <Log instance={i} />
      </div>
      <div className={ui.stack}>
        <Limits instance={i} />
        {why.data && <Confinement explanation={why.data} />}
        <History key={`${i.node.id}/${i.instance}`} instance={i} />
      </div>
    </div>
  )
}

const bad = ['quarantined', 'revoked', 'refused']

function Standing({ plugin: p, instance: i }: Props) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const [busy, setBusy] = useState(false)
  const [explaining, setExplaining] = useState(false)
  const run = async (what: 'restart' | 'release') => {
    setBusy(true)
    try {
      await act[what](p.id, i)
      tell.done(t(`plugin.${what}Asked`))
      await client.invalidateQueries({ queryKey: ['plugins'] })
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy(false)
    }
  }
  const { ledger } = i
  const unsigned = runsUnsigned(p, i)
  return (
    <Panel
      title={i.node.type === 'server' ? t('plugin.onServer') : t('plugin.onAgent', { name: i.node.name || i.node.id })}
      hint={<span className={css.marks}><State of={i.state} />{unsigned && <UnsignedMark />}{i.unconfined && <StateMark tone="bad">{t('plugin.unconfined')}</StateMark>}</span>}
      actions={
        <Group gap="xs">
          {can('operate') && i.state === 'quarantined' && <Button size="xs" loading={busy} onClick={() => void run('release')}>{t('plugin.releaseNow')}</Button>}
          <Button size="xs" variant="default" onClick={() => setExplaining(true)}>{t('plugin.explain')}</Button>
          {can('operate') && <Button size="xs" variant="default" loading={busy} onClick={() => void run('restart')}>{t('plugin.restart')}</Button>}
        </Group>
      }
    >
      {explaining && <Suspense><ExplainDrawer instance={i} onClose={() => setExplaining(false)} /></Suspense>}
      {unsigned && <p className={css.reason} data-bad>{t('plugin.unsignedText')}</p>}
      {i.unconfined && <p className={css.reason} data-bad>{t('plugin.unconfinedText')}</p>}
      {i.reason && i.state !== 'ready' && <p className={css.reason} data-bad={bad.includes(i.state) || undefined}>{i.reason}</p>}
      <dl className={css.ledger}>
        <div><dt>{t('plugins.version')}</dt><dd>{i.version || '–'}</dd></div>
        <div><dt>{t('plugins.runtime')}</dt><dd>{i.runtime || '–'}</dd></div>
        <div><dt>{t('plugins.cpu')}</dt><dd>{duration(ledger.cpu_seconds)}</dd></div>
        <div><dt>{t('plugins.memory')}</dt><dd>{ledger.memory_bytes ? bytes(ledger.memory_bytes) : '–'}</dd></div>
        <div><dt>{t('plugin.peak')}</dt><dd>{ledger.peak_memory_bytes ? bytes(ledger.peak_memory_bytes) : '–'}</dd></div>
        <div><dt>{t('plugin.calls')}</dt><dd>{count(ledger.calls)}</dd></div>
        <div><dt>{t('plugin.errors')}</dt><dd>{count(ledger.errors)}</dd></div>
        <div><dt>{t('plugin.latency')}</dt><dd>{ledger.latency_p95_ms ? duration(ledger.latency_p95_ms / 1000) : '–'}</dd></div>
        <div><dt>{t('plugin.records')}</dt><dd>{count(ledger.records)}</dd></div>
        {p.kind === 'detector' && <div><dt>{t('captures.findings')}</dt><dd>{count(ledger.findings)}</dd></div>}
        <div><dt>{t('plugins.restarts')}</dt><dd>{i.restarts}</dd></div>
        <div><dt>{t('plugin.crashes')}</dt><dd>{count(ledger.crashes)}</dd></div>
        {ledger.replayed > 0 && <div><dt>{t('plugin.replayed')}</dt><dd>{count(ledger.replayed)}</dd></div>}
        <div><dt>{t('plugin.since')}</dt><dd><Ago at={i.since} /></dd></div>
        <div><dt>PID</dt><dd>{i.pid || '–'}</dd></div>
      </dl>
      {!!i.shares?.length && <p className="dim">{t('plugin.shares', { with: i.shares.join(', ') })}</p>}
    </Panel>
  )
}
