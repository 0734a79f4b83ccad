// What somebody was told on the pages: unread first in mind, and from each notice to its alert, its machine and what found it.
import '../../locales/inbox'
import '../../locales/alerts'
import { Button, NativeSelect, SegmentedControl } from '@mantine/core'
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { inbox, markInbox, type InboxNotice } from '../../api/inbox'
import { severities, type Severity } from '../../api/types'
import { useMay } from '../../api/useMay'
import { SeverityMark, State } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loading, Problem } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { AgentName } from '../alerts/Evidence'
import css from './inbox.module.css'

export function InboxPage() {
  const { t } = useTranslation()
  const { show, severity } = useSearch({ from: '/inside/inbox' })
  const navigate = useNavigate({ from: '/inbox' })
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const query = useInfiniteQuery(inbox({ unread: show === 'all' ? undefined : true, severity }))
  const items = query.data ?? []
  const mark = (read: boolean, ids?: string[]) => {
    markInbox(read, ids).then(() => client.invalidateQueries({ queryKey: ['inbox'] }), (error: unknown) => tell.failed(error))
  }
  return (
    <Page title={t('inbox.title')} lead={t('inbox.lead')} actions={(
      <>
        <SegmentedControl aria-label={t('inbox.which')} value={show ?? 'unread'} onChange={(v) => void navigate({ search: { severity, show: v === 'all' ? 'all' : undefined } })}
          data={(['unread', 'all'] as const).map((v) => ({ value: v, label: t(`inbox.${v}`) }))} />
        <NativeSelect aria-label={t('alerts.severity')} value={severity ?? ''} onChange={(e) => void navigate({ search: { show, severity: (e.currentTarget.value || undefined) as Severity | undefined } })}
          data={[{ value: '', label: t('alerts.anySeverity') }, ...severities.toReversed().map((s) => ({ value: s as string, label: t(`severity.${s}`) }))]} />
        <Button variant="default" component={Link} to="/deliveries">{t('deliveries.link')}</Button>
        <Button onClick={() => mark(true)}>{t('inbox.readAll')}</Button>
      </>
    )}>
      <Panel title={t(show === 'all' ? 'inbox.all' : 'inbox.unread')} flush>
        {query.isError && <Problem error={query.error} retry={() => void query.refetch()} />}
        {query.isPending && <Loading />}
        {query.isSuccess && items.length === 0 && <Empty title={t(show === 'all' ? 'inbox.noneAll' : 'inbox.none')}>{t('inbox.noneText')}</Empty>}
        <ul className={css.notices}>
          {items.map((n) => <Row key={n.id} notice={n} plugins={can('plugins:read')} onMark={mark} />)}
        </ul>
        {query.hasNextPage && <div className={ui.more}><Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t('inbox.more')}</Button></div>}
      </Panel>
    </Page>
  )
}

function Row({ notice: n, plugins, onMark }: { notice: InboxNotice; plugins: boolean; onMark: (read: boolean, ids: string[]) => void }) {
  const { t } = useTranslation()
  return (
    <li data-notice={n.id} data-unread={!n.read || undefined}>
      <div className={css.words}>
        <span className={css.head}>
          <SeverityMark severity={n.severity} label={false} />
          {!n.read && <span className="visually-hidden">{t('inbox.new')}: </span>}
          {n.state ? <Link className={css.title} to="/alerts/$id" params={{ id: n.alert_id }} onClick={() => !n.read && onMark(true, [n.id])}>{n.title}</Link> : <span className={css.title}>{n.title}</span>}
        </span>
        <span className={css.facts}>
          <span>{t(`inbox.events.${n.event}`)} <Ago at={n.time} /></span>
          {n.state && <State of={n.state} />}
          {n.agent && <AgentName id={n.agent} />}
          <Finder notice={n} plugins={plugins} />
        </span>
      </div>
      <Button variant="default" size="compact-sm" className={css.mark} aria-label={t(n.read ? 'inbox.unreadOne' : 'inbox.readOne', { title: n.title })} onClick={() => onMark(!n.read, [n.id])}>
        {t(n.read ? 'inbox.asUnread' : 'inbox.read')}
      </Button>
    </li>
  )
}

/** The plugin or the rule that found it. */
function Finder({ notice: n, plugins }: { notice: InboxNotice; plugins: boolean }) {
  const { t } = useTranslation()
  if (n.detector === 'metric-rules' && n.rule) return <Link to="/rules/metrics/$name" params={{ name: n.rule }}>{t('inbox.ofRule', { rule: n.rule })}</Link>
  const [ns, name] = (n.detector ?? '').split('/')
  if (!ns || !name) return null
  return plugins ? <Link to="/plugins/$ns/$name" params={{ ns, name }}>{n.detector}</Link> : <span>{n.detector}</span>
}
