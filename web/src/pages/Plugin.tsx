import { Button, Group } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../api/actions'
import { plugin } from '../api/queries'
import type { Plugin, PluginInstance } from '../api/types'
import { useMay } from '../api/useMay'
import { bytes, count, duration } from '../lib/format'
import { Confirm } from '../ui/confirm'
import { SeverityMark, State } from '../ui/marks'
import { LoadedPage } from '../ui/LoadedPage'
import { Markdown } from '../ui/Markdown'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Permissions } from '../ui/Permissions'
import { Empty } from '../ui/states'
import { Techniques } from '../ui/Techniques'
import { Ago, Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import css from './plugins.module.css'

// Its inputs are the largest part of this page, and few visits need them.
const EnableDialog = lazy(() => import('./EnableDialog'))

export function PluginPage() {
  const { t } = useTranslation()
  const { ns, name } = useParams({ from: '/inside/plugins/$ns/$name' })
  const query = useQuery(plugin(`${ns}/${name}`))
  return (
    <LoadedPage query={query} title={t('plugin.title')} back={{ to: '/plugins', label: t('plugins.title') }}>
      {(p) => <Detail plugin={p} />}
    </LoadedPage>
  )
}

function Detail({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const can = useMay()
  const [form, setForm] = useState(false)
  const running = p.instances
  return (
    <Page
      title={p.title || p.id}
      back={{ to: '/plugins', label: t('plugins.title') }}
      lead={p.summary}
      actions={
        can('administer') && (
          <>
            {p.kind === 'notifier' && running.length > 0 && <TestButton plugin={p} />}
            {running.length > 0 && <DisableButton plugin={p} />}
            <Button onClick={() => setForm(true)} variant={running.length > 0 ? 'default' : 'filled'}>
              {running.length > 0 ? t('plugin.change') : t('plugin.enable')}
            </Button>
          </>
        )
      }
    >
      {form && <Suspense><EnableDialog plugin={p} onClose={() => setForm(false)} /></Suspense>}
      {p.revoked && (
        <div className={ui.error} role="alert">
          <strong>{t('plugin.revoked')}</strong>
          <span className="break">{p.revoked}</span>
        </div>
      )}
      <div className={ui.columns}>
        <div className={ui.stack}>
          {running.length === 0 ? (
            <Panel title={t('plugin.instances')} flush>
              <Empty title={t('plugin.notRunning')} action={can('administer') && <Button onClick={() => setForm(true)}>{t('plugin.enable')}</Button>}>
                {t('plugin.notRunningText')}
              </Empty>
            </Panel>
          ) : running.map((i) => <Instance key={`${i.node.id}/${i.instance}`} plugin={p} instance={i} />)}
          {p.rules.length > 0 && <Rules plugin={p} />}
          {p.readme && <Panel title={t('plugin.readme')}><Markdown source={p.readme} /></Panel>}
        </div>
        <div className={ui.stack}>
          <Panel title={t('plugin.permissions')} hint={t('plugin.permissionsHint')}>
            <Permissions permissions={p.permissions} />
          </Panel>
          <Panel title={t('plugin.release')}>
            <Facts>
              <Fact name={t('plugin.id')}><span className="mono">{p.id}</span></Fact>
              <Fact name={t('plugins.kind')}>{t(`plugins.kinds.${p.kind}`)}</Fact>
              <Fact name={t('plugins.version')}>{p.version}{p.versions.length > 1 && <span className="dim"> · {t('plugin.ofVersions', { count: p.versions.length })}</span>}</Fact>
              <Fact name={t('plugin.runtimes')}>{p.runtimes.join(', ')}</Fact>
              <Fact name={t('plugin.trust')}>{t(`plugin.trusts.${p.trust}`)}</Fact>
              {p.vouched_by && <Fact name={t('plugin.voucher')}>{p.vouched_by}</Fact>}
              {p.digest && <Fact name="SHA-256"><span className="mono">{p.digest}</span></Fact>}
              <Fact name={t('plugin.license')}>{p.license || '–'}</Fact>
            </Facts>
          </Panel>
        </div>
      </div>
    </Page>
  )
}

function TestButton({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const tell = useTell()
  const [busy, setBusy] = useState(false)
  const run = async () => {
    setBusy(true)
    try {
      await act.test(p.id)
      tell.done(t('plugin.tested'))
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy(false)
    }
  }
  return <Button variant="default" loading={busy} onClick={() => void run()}>{t('plugin.test')}</Button>
}

function DisableButton({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [asking, setAsking] = useState(false)
  return (
    <>
      <Button variant="default" onClick={() => setAsking(true)}>{t('plugin.disable')}</Button>
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('plugin.disableTitle', { name: p.title || p.id })} confirm={t('plugin.disable')} danger
        act={async () => {
          await act.disable(p.id)
          await client.invalidateQueries({ queryKey: ['plugins'] })
        }}>
        {t('plugin.disableText')}
      </Confirm>
    </>
  )
}

const bad = ['quarantined', 'revoked', 'refused']

function Instance({ plugin: p, instance: i }: { plugin: Plugin; instance: PluginInstance }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const [busy, setBusy] = useState(false)
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
  return (
    <Panel
      title={i.node.type === 'server' ? t('plugin.onServer') : t('plugin.onAgent', { name: i.node.name || i.node.id })}
      hint={<State of={i.state} />}
      actions={
        can('operate') && (
          <Group gap="xs">
            {i.state === 'quarantined' && <Button size="xs" loading={busy} onClick={() => void run('release')}>{t('plugin.releaseNow')}</Button>}
            <Button size="xs" variant="default" loading={busy} onClick={() => void run('restart')}>{t('plugin.restart')}</Button>
          </Group>
        )
      }
    >
      {i.reason && i.state !== 'ready' && <p className={css.reason} data-bad={bad.includes(i.state) || undefined}>{i.reason}</p>}
      <dl className={css.ledger}>
        <div><dt>{t('plugins.runtime')}</dt><dd>{i.runtime || '–'}</dd></div>
        <div><dt>{t('plugins.cpu')}</dt><dd>{duration(ledger.cpu_seconds)}</dd></div>
        <div><dt>{t('plugins.memory')}</dt><dd>{ledger.memory_bytes ? bytes(ledger.memory_bytes) : '–'}</dd></div>
        <div><dt>{t('plugins.restarts')}</dt><dd>{i.restarts}</dd></div>
        <div><dt>{t('plugin.calls')}</dt><dd>{count(ledger.calls)}</dd></div>
        <div><dt>{t('plugin.errors')}</dt><dd>{count(ledger.errors)}</dd></div>
        <div><dt>{t('plugin.records')}</dt><dd>{count(ledger.records)}</dd></div>
        {p.kind === 'detector' && <div><dt>{t('captures.findings')}</dt><dd>{count(ledger.findings)}</dd></div>}
        <div><dt>{t('plugin.latency')}</dt><dd>{ledger.latency_p95_ms ? duration(ledger.latency_p95_ms / 1000) : '–'}</dd></div>
        <div><dt>{t('plugin.since')}</dt><dd><Ago at={i.since} /></dd></div>
        <div><dt>PID</dt><dd>{i.pid || '–'}</dd></div>
      </dl>
      <h3>{t('plugin.log')}</h3>
      {i.log_tail.length ? (
        <ol className={css.log} tabIndex={0} aria-label={t('plugin.log')}>
          {i.log_tail.map((line, n) => (
            <li key={n} data-level={line.level}>
              <Time at={line.time} />
              <span className={css.level}>{line.level}</span>
              <span>{line.text}</span>
            </li>
          ))}
        </ol>
      ) : <p className="dim">{t('plugin.noLog')}</p>}
      {ledger.log_dropped > 0 && <p className="dim">{t('plugin.dropped', { count: ledger.log_dropped })}</p>}
    </Panel>
  )
}

function Rules({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('plugin.rules')}>
      <ul className={css.rules}>
        {p.rules.map((r) => (
          <li key={r.id}>
            <div className={css.ruleHead}>
              <strong className="mono">{r.id}</strong>
              <SeverityMark severity={r.severity} />
              <Techniques ids={r.techniques} long />
            </div>
            <p>{r.purpose}</p>
            {r.false_positives.length > 0 && <p className="dim">{t('plugin.benign', { list: r.false_positives.join(' ') })}</p>}
          </li>
        ))}
      </ul>
    </Panel>
  )
}
