// The packets that an agent kept for a finding, as those of a capture are shown.
import { Button } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useParams, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { keptFile } from '../../api/files'
import { alert } from '../../api/queries'
import { keptPackets } from '../../api/traffic'
import { ranges } from '../../lib/format'
import { readPackets } from '../../lib/packetNumbers'
import '../../locales/alerts'
import '../../locales/traffic'
import { Page, Panel } from '../../ui/Page'
import { PacketList } from '../flows/Packets'

export function KeptPacketsPage() {
  const { t } = useTranslation()
  const { id, finding } = useParams({ from: '/inside/alerts/$id/packets/$finding' })
  const { numbers = '', flow } = useSearch({ from: '/inside/alerts/$id/packets/$finding' })
  const of = useQuery(alert(id))
  const only = { flow: Number(flow) || undefined, numbers: readPackets(numbers) }
  const query = useInfiniteQuery(keptPackets(id, finding, only))
  const lead = only.flow ? t('traffic.flow.number', { id: only.flow }) : ranges(only.numbers)
  return (
    <Page title={t('traffic.packets.ofAlert')} back={{ to: `/alerts/${id}`, label: of.data?.title ?? t('alert.title') }} lead={lead && <span className="num break">{lead}</span>}
      actions={<Button component="a" href={keptFile(id, finding)} download variant="default">{t('traffic.packets.downloadAll')}</Button>}>
      <Panel title={t('traffic.packets.title')} hint={t('traffic.packets.hintKept')} flush>
        <PacketList key={`${flow} ${numbers}`} query={query} none={t('traffic.packets.notKept')} />
      </Panel>
    </Page>
  )
}
