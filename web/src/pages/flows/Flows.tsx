// The flows explorer: filters in the address, what the flows add up to, and the flows themselves.
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { flowSummary, type FlowSummary } from '../../api/traffic'
import { chipsOf, filterOf, readFlowAddress, withFlow, type FlowAddress } from '../../lib/flowFilter'
import { queryOfView, viewOfQuery } from '../../lib/savedViews'
import '../../locales/traffic'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded } from '../../ui/states'
import { Charts } from './Charts'
import { ExportMenu } from './Export'
import { FilterBar } from './FilterBar'
import { FlowList } from './FlowList'
import css from './flows.module.css'
import { Timeline } from './Timeline'
import { ViewsMenu } from './Views'

export interface Exploring {
  address: FlowAddress
  /** Changes the address; what was typed or dragged is a step that somebody can go back from. */
  change: (part: Partial<FlowAddress>) => void
}

export function FlowsPage() {
  const { t } = useTranslation()
  const address = useSearch({ from: '/inside/flows' })
  const navigate = useNavigate({ from: '/flows' })
  const go = (search: FlowAddress) => void navigate({ to: '/flows', search, resetScroll: false })
  const exploring: Exploring = { address, change: (part) => go(withFlow(address, part)) }
  const filter = filterOf(address)
  const query = useQuery(flowSummary(filter))
  return (
    <Page title={t('traffic.flows.title')} lead={t('traffic.flows.lead')} actions={<><SavedViews address={address} /><ExportMenu filter={filter} /></>}>
      <FilterBar address={address} go={go} />
      <Loaded query={query} rows={8}>
        {(summary) => summary.flows === 0 ? <Nothing address={address} go={go} /> : <Found {...exploring} summary={summary} old={query.isPlaceholderData} />}
      </Loaded>
    </Page>
  )
}

function Found({ summary, old, ...exploring }: Exploring & { summary: FlowSummary; old: boolean }) {
  const { t } = useTranslation()
  return (
    <div className={css.found} data-old={old || undefined}>
      {summary.incomplete && <p className="dim" role="note">{t('traffic.flows.incomplete')}</p>}
      <Timeline {...exploring} summary={summary} />
      <div className={css.room}>
        <FlowList {...exploring} total={summary.flows} />
        <Charts {...exploring} summary={summary} />
      </div>
    </div>
  )
}

function Nothing({ address, go }: { address: FlowAddress; go: (to: FlowAddress) => void }) {
  const { t } = useTranslation()
  const narrowed = chipsOf(address).length > 0
  return (
    <Panel title={t('traffic.flows.list')} flush>
      {narrowed ? (
        <Empty title={t('traffic.flows.none')} action={<Link to="/flows" search={{}} onClick={() => go({})}>{t('traffic.flows.clear')}</Link>}>{t('traffic.flows.noneText')}</Empty>
      ) : (
        <Empty title={t('traffic.flows.noneYet')} action={<Link to="/captures">{t('traffic.flows.toCaptures')}</Link>}>{t('traffic.flows.noneYetText')}</Empty>
      )}
    </Panel>
  )
}

function SavedViews({ address }: { address: FlowAddress }) {
  return (
    <ViewsMenu page="flows" query={queryOfView(readFlowAddress({ ...address }))}
      link={(query, name, onOpen) => <Link to="/flows" search={viewOfQuery(query)} className="break" onClick={onOpen}>{name}</Link>} />
  )
}
