import { Button } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { alerts, capture } from '../api/queries'
import type { Capture } from '../api/types'
import { bytes, count, duration } from '../lib/format'
import '../locales/captures'
import { LoadedPage } from '../ui/LoadedPage'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Empty, LoadedList } from '../ui/states'
import { Time } from '../ui/Time'
import ui from '../ui/ui.module.css'
import { AlertTable } from './alerts/AlertTable'
import { CaptureDeeds, CaptureProgress } from './captures/CaptureTable'
import { Protocols } from './captures/Protocols'
import { Quality } from './captures/Quality'
import css from './captures.module.css'

export function CapturePage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/captures/$id' })
  const query = useQuery({
    ...capture(id),
    // The live channel tells when it is done; the bar should move before that.
    refetchInterval: (q) => (q.state.data?.state === 'queued' || q.state.data?.state === 'running' ? 1000 : false),
  })
  return (
    <LoadedPage query={query} title={t('capture.title')} back={{ to: '/captures', label: t('captures.title') }}>
      {(c) => <Detail capture={c} />}
    </LoadedPage>
  )
}

function Detail({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  const found = useInfiniteQuery(alerts({ capture: c.id }))
  const navigate = useNavigate()
  return (
    <Page title={c.name} back={{ to: '/captures', label: t('captures.title') }} lead={<CaptureProgress capture={c} />}
      actions={
        <>
          <CaptureDeeds captures={[c]} onDone={(deed) => deed === 'delete' && void navigate({ to: '/captures' })} />
          {c.flows > 0 && <Button size="xs" variant="default" renderRoot={(props) => <Link {...props} to="/flows" search={{ capture: c.id }} />}>{t('traffic.open')}</Button>}
        </>
      }>
      {c.error && (
        <div className={ui.error} role="alert">
          <strong>{t('capture.failed')}</strong>
          <span className="break">{c.error}</span>
          <span className="dim">{t('capture.failedNext')}</span>
        </div>
      )}
      {c.truncated && <p className="dim">{t(c.packets === 0 ? 'capture.nothing' : 'capture.truncated')}</p>}
      {c.skipped && (
        <div className={ui.error}>
          <strong>{t('capture.partial')}</strong>
          <span className="break">{c.skipped}</span>
        </div>
      )}
      <Panel title={t('capture.counts')}>
        <dl className={css.counts}>
          <div><dt>{t('captures.packets')}</dt><dd>{count(c.packets)}</dd></div>
          <div><dt>{t('capture.traffic')}</dt><dd>{c.bytes > 0 || c.state === 'done' ? bytes(c.bytes) : '–'}</dd></div>
          <div><dt>{t('captures.flows')}</dt><dd>{count(c.flows)}</dd></div>
          <div><dt>{t('capture.span')}</dt><dd>{span(c)}</dd></div>
          <div><dt>{t('captures.findings')}</dt><dd>{c.state === 'done' ? count(c.findings) : '–'}</dd></div>
        </dl>
      </Panel>
      <div className={css.pair}>
        <Quality capture={c} />
        {c.state !== 'queued' && <Protocols capture={c} />}
      </div>
      <Panel title={t('capture.alerts')} flush>
        <LoadedList
          query={found}
          empty={
            c.state === 'done' && c.truncated && c.packets === 0 ? <Empty title={t('capture.unread')} />
            : c.state === 'done' ? <Empty title={t('capture.clean')} action={<Link to="/plugins" search={{ kind: 'detector' }}>{t('capture.detectors')}</Link>}>{t('capture.cleanText')}</Empty>
            : c.state === 'failed' ? <Empty title={t('capture.unread')} />
            : <Empty title={t('capture.wait')}>{t('capture.waitText')}</Empty>
          }
        >
          {(items) => <AlertTable items={items} />}
        </LoadedList>
      </Panel>
      <Panel title={t('capture.file')}>
        <Facts>
          <Fact name={t('capture.size')}>{bytes(c.size)}</Fact>
          <Fact name="SHA-256"><span className="mono">{c.sha256}</span></Fact>
          <Fact name={t('capture.first')}><Time at={c.first_packet} toSecond /></Fact>
          <Fact name={t('capture.last')}><Time at={c.last_packet} toSecond /></Fact>
          <Fact name={t('captures.added')}><Time at={c.created} /></Fact>
        </Facts>
      </Panel>
    </Page>
  )
}

function span(c: Capture): string {
  if (!c.first_packet || !c.last_packet || c.first_packet.startsWith('0001-')) return '–'
  const seconds = (Date.parse(c.last_packet) - Date.parse(c.first_packet)) / 1000
  return seconds >= 0 ? duration(seconds) : '–'
}
