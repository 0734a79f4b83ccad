import { Button } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../api/actions'
import { plugin, pluginPath } from '../api/queries'
import type { Plugin, PluginInstance } from '../api/types'
import { useMay } from '../api/useMay'
import { bytes, duration } from '../lib/format'
import '../locales/plugins'
import { Confirm } from '../ui/confirm'
import { State } from '../ui/marks'
import { LoadedPage } from '../ui/LoadedPage'
import { Markdown } from '../ui/Markdown'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Permissions } from '../ui/Permissions'
import { Empty } from '../ui/states'
import { Techniques } from '../ui/Techniques'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import { Frame } from './plugin/Frame'
import { InstanceView } from './plugin/InstanceView'
import { Revocation } from './plugin/Override'
import { Rules } from './plugin/Rules'
import { isUnsigned, runsUnsigned, TrustMark, UnsignedMark } from './plugin/TrustMark'
import { UninstallButton } from './plugin/Uninstall'
import { Updates } from './plugin/Updates'
import css from './plugins.module.css'
import { worstOf } from './Plugins'

// Its inputs are the largest part of this page, and few visits need them.
const EnableDialog = lazy(() => import('./EnableDialog'))
const Quality = lazy(() => import('./plugin/Quality'))

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
  const { instance, node } = useSearch({ from: '/inside/plugins/$ns/$name' })
  // What comes up first stays, also when another one fares worse meanwhile.
  const [first] = useState(() => worstOf(running))
  const find = (name: string | undefined, at: string | undefined) => running.find((i) => i.instance === name && (!at || i.node.id === at))
  const shown = find(instance, node) ?? find(first?.instance, first?.node.id) ?? running[0]
  return (
    <Page
      title={p.title || p.id}
      back={{ to: '/plugins', label: t('plugins.title') }}
      lead={<>{p.summary} <TrustMark plugin={p} /></>}
      actions={
        can('administer') && (
          <>
            {p.kind === 'notifier' && running.length > 0 && <TestButton plugin={p} />}
            {running.length > 0 && !isUnsigned(p) && <DisableButton plugin={p} />}
            {!isUnsigned(p) && <UninstallButton plugin={p} />}
            {!isUnsigned(p) && (
              <Button onClick={() => setForm(true)} variant={running.length > 0 ? 'default' : 'filled'}>
                {running.length > 0 ? t('plugin.change') : t('plugin.enable')}
              </Button>
            )}
          </>
        )
      }
    >
      {form && <Suspense><EnableDialog plugin={p} onClose={() => setForm(false)} /></Suspense>}
      <Revocation plugin={p} />
      {running.length === 0 && (
        <Panel title={t('plugin.instances')} flush>
          <Empty title={t('plugin.notRunning')} action={can('administer') && <Button onClick={() => setForm(true)}>{t('plugin.enable')}</Button>}>
            {t('plugin.notRunningText')}
          </Empty>
        </Panel>
      )}
      {running.length > 1 && <Instances plugin={p} shown={shown} />}
      {shown && p.has_page && <Frame plugin={p} />}
      {shown && <InstanceView plugin={p} instance={shown} />}
      <div className={ui.columns}>
        <div className={ui.stack}>
          {p.kind === 'detector' && !isUnsigned(p) && <Suspense><Quality plugin={p} /></Suspense>}
          {p.rules.length > 0 && <Rules rules={p.rules} />}
          {p.readme && <Panel title={t('plugin.readme')}><Markdown source={p.readme} /></Panel>}
        </div>
        <div className={ui.stack}>
          {!shown && (
            <Panel title={t('plugin.permissions')} hint={t('plugin.permissionsHint')}>
              <Permissions permissions={p.permissions} risk />
            </Panel>
          )}
          {p.techniques.length > 0 && <Panel title={t('plugin.techniques')} hint={t('plugin.techniquesHint')}><Techniques ids={p.techniques} long matrix /></Panel>}
          {!isUnsigned(p) && running.length > 0 && <Updates plugin={p} />}
          <Release plugin={p} />
        </div>
      </div>
    </Page>
  )
}

function Release({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('plugin.release')} hint={<TrustMark plugin={p} />}>
      <Facts>
        <Fact name={t('plugin.id')}><span className="mono">{p.id}</span></Fact>
        <Fact name={t('plugins.kind')}>{t(`plugins.kinds.${p.kind}`)}</Fact>
        <Fact name={t('plugins.version')}>{p.version || '–'}{p.versions.length > 1 && <span className="dim"> · {t('plugin.ofVersions', { count: p.versions.length })}</span>}</Fact>
        <Fact name={t('plugin.runtimes')}>{p.runtimes.join(', ')}</Fact>
        <Fact name={t('plugin.trust')}>{t(`plugin.trusts.${p.trust}`)}</Fact>
        {p.vouched_by && <Fact name={t('plugin.voucher')}>{p.vouched_by}</Fact>}
        {p.digest && <Fact name="SHA-256"><span className="mono">{p.digest}</span></Fact>}
        <Fact name={t('plugin.license')}>{p.license || '–'}</Fact>
      </Facts>
    </Panel>
  )
}

/** Where it runs. One is shown below in full. */
function Instances({ plugin: p, shown }: { plugin: Plugin; shown: PluginInstance | undefined }) {
  const { t } = useTranslation()
  const { ns, name } = pluginPath(p.id)
  return (
    <Panel title={t('plugin.instances')} hint={t('plugin.instancesHint')} flush>
      <table className={`${ui.table} ${css.instances}`}>
        <caption className="visually-hidden">{t('plugin.instances')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('plugin.node')}</th>
            <th scope="col">{t('plugins.state')}</th>
            <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.cpu')}</th>
            <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.memory')}</th>
            <th scope="col" className={`${ui.wide} ${ui.right}`}>{t('plugins.restarts')}</th>
            <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('plugins.version')}</th>
          </tr>
        </thead>
        <tbody>
          {p.instances.map((i) => (
            <tr key={`${i.node.id}/${i.instance}`} className={ui.row} data-shown={i === shown || undefined}>
              <td>
                <Link to="/plugins/$ns/$name" params={{ ns, name }} search={{ instance: i.instance, node: i.node.id }} className={ui.main} replace resetScroll={false}
                  aria-current={i === shown || undefined}>
                  {i.node.type === 'server' ? t('plugin.theServer') : i.node.name || i.node.id}
                </Link>
              </td>
              <td><span className={ui.lines}><State of={i.state} />{runsUnsigned(p, i) && <UnsignedMark />}</span></td>
              <td className={`${ui.medium} ${ui.right} num`}>{duration(i.ledger.cpu_seconds)}</td>
              <td className={`${ui.medium} ${ui.right} num`}>{i.ledger.memory_bytes ? bytes(i.ledger.memory_bytes) : '–'}</td>
              <td className={`${ui.wide} ${ui.right} num`}>{i.restarts}</td>
              <td className={`${ui.medium} ${ui.right} num`}>{i.version}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
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
