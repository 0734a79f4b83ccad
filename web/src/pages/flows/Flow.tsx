// One flow: who spoke to whom, what was said, its features beside what is usual, its packets.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { capture } from '../../api/queries'
import { flowFile } from '../../api/files'
import { deviceNames, flow, type FlowDetail, type Named } from '../../api/traffic'
import { bytes, count } from '../../lib/format'
import { featureValue, flagWords, hostPort, protocolName } from '../../lib/flowWords'
import '../../locales/traffic'
import { LoadedPage } from '../../ui/LoadedPage'
import { Fact, Facts, Page, Panel } from '../../ui/Page'
import { Time } from '../../ui/Time'
import { Features } from './Features'
import css from './flow.module.css'
import { Packets } from './Packets'
import { Spoken } from './Spoken'

export function FlowPage() {
  const { t } = useTranslation()
  const { id, flow: number } = useParams({ from: '/inside/captures/$id/flows/$flow' })
  const query = useQuery(flow(id, Number(number)))
  return (
    <LoadedPage query={query} title={t('traffic.flow.number', { id: number })} back={{ to: '/flows', label: t('traffic.flows.title') }}>
      {(f) => <Detail key={`${id} ${number}`} flow={f} />}
    </LoadedPage>
  )
}

function Detail({ flow: f }: { flow: FlowDetail }) {
  const { t } = useTranslation()
  const live = f.capture.startsWith('live-') // its packets were never kept, and it has no page
  const of = useQuery({ ...capture(f.capture), enabled: !live })
  const what = [f.app && protocolName(f.app), protocolName(f.proto), f.name].filter(Boolean).join(' · ')
  return (
    <Page
      title={`${f.src} → ${hostPort(f.dst, f.dst_port, f.proto)}`}
      tab={t('traffic.flow.number', { id: f.id })}
      back={{ to: '/flows', label: t('traffic.flows.title') }}
      lead={<span className="break">{what}</span>}
      actions={!live && <Button component="a" href={flowFile(f.capture, f.id)} download variant="default">{t('traffic.flow.download')}</Button>}
    >
      <Who flow={f} />
      <div className={css.columns}>
        <Spoken flow={f} />
        <Panel title={t('traffic.flow.details')}>
          <Facts>
            <Fact name={t('traffic.flow.capture')}>{live ? t('traffic.flow.live') : <Link to="/captures/$id" params={{ id: f.capture }} className="break">{of.data?.name ?? f.capture}</Link>} · <span className="num">{t('traffic.flow.number', { id: f.id })}</span></Fact>
            <Fact name={t('traffic.flow.start')}><Time at={f.start} toSecond /></Fact>
            <Fact name={t('traffic.flow.duration')}>{featureValue(f.duration, 's')}</Fact>
            <Fact name={t('traffic.flow.ended')}>{t(`traffic.flow.ends.${f.end_reason}`)}</Fact>
            {(f.fwd_flags > 0 || f.rev_flags > 0) && <Fact name={t('traffic.flow.flags')}><Flags flow={f} /></Fact>}
            {f.vlan > 0 && <Fact name={t('traffic.flow.vlan')}>{f.vlan}</Fact>}
            {f.tunnel && <Fact name={t('traffic.flow.tunnel')}>{protocolName(f.tunnel)}{f.tunnel_id > 0 && ` ${f.tunnel_id}`}</Fact>}
            <Fact name={t('traffic.flow.community')}><span className="mono">{f.community_id}</span></Fact>
          </Facts>
          <p className={css.links}>
            {f.app && <Link to="/flows" search={{ app: f.app, dst_port: f.dst_port || undefined }}>{t('traffic.flow.similar')}</Link>}
          </p>
        </Panel>
      </div>
      <Features features={f.features} like={f.like} />
      {!live && <Packets flow={f} />}
    </Page>
  )
}

function Flags({ flow: f }: { flow: FlowDetail }) {
  return <span className={css.flags}><span>→ {flagWords(f.fwd_flags) || '–'}</span><span>← {flagWords(f.rev_flags) || '–'}</span></span>
}

function Who({ flow: f }: { flow: FlowDetail }) {
  const { t } = useTranslation()
  const { data: names } = useQuery(deviceNames)
  const back = { bytes: f.bytes - f.fwd_bytes, packets: f.packets - f.fwd_packets }
  const part = f.bytes > 0 ? (f.fwd_bytes / f.bytes) * 100 : 50
  return (
    <Panel title={t('traffic.flow.who')} hint={f.initiator_guessed ? t('traffic.flow.guessed') : undefined}>
      <div className={css.who}>
        <Side role={t('traffic.flow.client')} address={f.src} port={f.src_port} proto={f.proto} known={names?.get(f.src)}>
          {t('traffic.flow.sent', { bytes: bytes(f.fwd_bytes), count: f.fwd_packets, packets: count(f.fwd_packets) })}
        </Side>
        <span className={css.both} aria-hidden="true">
          <span className={css.there} style={{ width: `${Math.max(8, part)}%` }} />
          <span className={css.back} style={{ width: `${Math.max(8, 100 - part)}%` }} />
        </span>
        <Side role={t('traffic.flow.server')} address={f.dst} port={f.dst_port} proto={f.proto} known={names?.get(f.dst)}>
          {t('traffic.flow.sent', { bytes: bytes(back.bytes), count: back.packets, packets: count(back.packets) })}
        </Side>
      </div>
    </Panel>
  )
}

interface SideProps {
  role: string
  address: string
  port: number
  proto: string
  known?: Named
  children: ReactNode
}

function Side({ role, address, port, proto, known, children }: SideProps) {
  const { t } = useTranslation()
  return (
    <div className={css.side}>
      <span className="dim">{role}</span>
      {known && <Link to="/devices/$id" params={{ id: known.id }} className={css.named}>{known.name}</Link>}
      <span className={`mono break ${css.address}`}>{hostPort(address, port, proto)}</span>
      <span className={css.sent}>{children}</span>
      <Link to="/flows" search={{ host: address }} className={css.all}>{t('traffic.flow.all', { address })}</Link>
    </div>
  )
}
