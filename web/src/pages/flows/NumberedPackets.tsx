// Packets of a capture by number: where the evidence of a finding leads.
import { Button } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useParams, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { packetsFile } from '../../api/files'
import { capture } from '../../api/queries'
import { numberedPackets } from '../../api/traffic'
import { ranges } from '../../lib/format'
import { readPackets } from '../../lib/packetNumbers'
import '../../locales/alerts'
import '../../locales/captures'
import '../../locales/traffic'
import { Page, Panel } from '../../ui/Page'
import { Empty } from '../../ui/states'
import { PacketList } from './Packets'

export function NumberedPacketsPage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/captures/$id/packets' })
  const { numbers = '' } = useSearch({ from: '/inside/captures/$id/packets' })
  const wanted = readPackets(numbers)
  const of = useQuery(capture(id))
  const query = useInfiniteQuery({ ...numberedPackets(id, wanted), enabled: wanted.length > 0 })
  const name = of.data?.name ?? t('capture.title')
  return (
    <Page title={t('traffic.packets.ofCapture')} back={{ to: `/captures/${id}`, label: name }} lead={<span className="num break">{ranges(wanted)}</span>}
      actions={wanted.length > 0 && <Button component="a" href={packetsFile(id, wanted)} download variant="default">{t('alert.download')}</Button>}>
      <Panel title={t('traffic.packets.title')} hint={t('traffic.packets.hint')} flush>
        {wanted.length === 0 ? <Empty title={t('traffic.packets.noNumbers')} /> : <PacketList key={numbers} query={query} none={t('traffic.packets.notThere')} />}
      </Panel>
    </Page>
  )
}
