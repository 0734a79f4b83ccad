// What a capture is made of, by application protocol. Each line leads to its flows.
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { flowSummary } from '../../api/traffic'
import type { Capture } from '../../api/types'
import { bytes } from '../../lib/format'
import { protocolName } from '../../lib/flowWords'
import { Bars } from '../../ui/Bars'
import { Panel } from '../../ui/Page'
import { Loaded } from '../../ui/states'
import { Heard } from './Heard'

const shown = 10

export function Protocols({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  const navigate = useNavigate()
  const query = useQuery(flowSummary({ capture: c.id }))
  return (
    <Panel title={t('traffic.quality.protocols')} hint={query.data?.apps.length ? t('traffic.quality.protocolsHint') : undefined}>
      <Loaded query={query} rows={4}>
        {(summary) => summary.apps.length === 0 ? <Heard capture={c} /> : (
          <Bars label={t('traffic.quality.protocols')} bars={summary.apps.slice(0, shown).map((g) => {
            const name = g.app ? protocolName(g.app) : t('traffic.flows.unknownApp')
            return { key: g.app, name, value: g.bytes, said: `${bytes(g.bytes)} · ${t('traffic.flows.total', { count: g.flows, n: g.flows.toLocaleString('en') })}`, label: t('traffic.charts.add', { name }),
              choose: () => void navigate({ to: '/flows', search: { capture: c.id, app: g.app || 'none' } }) }
          })} />
        )}
      </Loaded>
    </Panel>
  )
}
