import { Button } from '@mantine/core'
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { useEffect, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import '../../locales/commands'
import { act, order, orderMachines, type Order, type OrderCommand } from '../../api/orders'
import { agents } from '../../api/queries'
import { useMay } from '../../api/useMay'
import { isOpen } from '../../lib/orders'
import { Confirm } from '../../ui/confirm'
import { LoadedPage } from '../../ui/LoadedPage'
import { State } from '../../ui/marks'
import { Fact, Facts, Page, Panel } from '../../ui/Page'
import { Loaded } from '../../ui/states'
import { Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import { ownerName } from '../incidents/owner'
import { Progress } from './Commands'
import css from './commands.module.css'

export function OrderPage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/commands/$id' })
  const query = useQuery(order(id))
  return (
    <LoadedPage query={query} title={t('commands.title')} back={{ to: '/commands', label: t('commands.title') }}>
      {(o) => <Detail order={o} />}
    </LoadedPage>
  )
}

function Detail({ order: o }: { order: Order }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const [asking, setAsking] = useState(false)
  return (
    <Page title={o.type} lead={o.target === 'all' ? t('commands.all') : o.target} back={{ to: '/commands', label: t('commands.title') }}
      actions={can('commands:write') && isOpen(o.progress) && <Button variant="default" onClick={() => setAsking(true)}>{t('commands.cancel')}</Button>}>
      <Panel title={t('commands.facts')}>
        <Facts>
          <Fact name={t('commands.progress')}><Progress order={o} /></Fact>
          <Fact name={t('commands.by')}>{ownerName(o.created_by)}</Fact>
          <Fact name={t('commands.when')}><Time at={o.created_at} /></Fact>
          {o.decided_by && <Fact name={t('commands.decided')}>{ownerName(o.decided_by)} {o.reason}</Fact>}
          {o.args !== undefined && <Fact name={t('commands.args')}><span className="mono">{JSON.stringify(o.args)}</span></Fact>}
        </Facts>
      </Panel>
      <Machines id={o.id} single={o.machines === 1} />
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('commands.cancelTitle', { type: o.type, target: o.target })} confirm={t('commands.cancel')} danger
        act={() => act.cancel(o.id).then(() => client.invalidateQueries({ queryKey: ['agents', 'orders'] }))}>
        {t('commands.cancelText')}
      </Confirm>
    </Page>
  )
}

function Machines({ id, single }: { id: string; single: boolean }) {
  const { t } = useTranslation()
  const query = useQuery(orderMachines(id))
  const { data: known } = useInfiniteQuery(agents)
  const nameOf = (agent: string) => known?.find((a) => a.id === agent)?.name ?? agent.slice(0, 13)
  const [chosen, setChosen] = useState<string | null>(null)
  const reads = useMay()('commands:write') // a program may print anything
  return (
    <Panel title={t('commands.machines')} flush>
      <Loaded query={query}>
        {({ items }) => {
          const shown = reads ? items.find((c) => c.id === (single ? items[0]?.id : chosen)) : undefined
          return (
            <>
              <table className={ui.table}>
                <caption className="visually-hidden">{t('commands.machines')}</caption>
                <thead>
                  <tr>
                    <th scope="col">{t('commands.machine')}</th>
                    <th scope="col">{t('commands.progress')}</th>
                    {reads && <th scope="col" className={ui.right}>{t('commands.output')}</th>}
                  </tr>
                </thead>
                <tbody>
                  {items.map((c) => (
                    <tr key={c.id} className={ui.row}>
                      <td><Link to="/machines/$id" params={{ id: c.agent }}>{nameOf(c.agent)}</Link></td>
                      <td><State of={c.state} /></td>
                      {reads && <td className={ui.right}>
                        <Button size="sm" variant="default" aria-pressed={shown?.id === c.id} onClick={() => setChosen(c.id)}
                          aria-label={t('commands.outputOf', { name: nameOf(c.agent) })}>{t('commands.output')}</Button>
                      </td>}
                    </tr>
                  ))}
                </tbody>
              </table>
              {shown && <Output key={shown.id} command={shown} />}
            </>
          )
        }}
      </Loaded>
    </Panel>
  )
}

/** What a command prints, as it comes. */
function Output({ command }: { command: OrderCommand }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [text, setText] = useState('')
  const [cut, setCut] = useState(false)
  const [live, setLive] = useState(true)
  const first = useRef(command)
  useEffect(() => {
    const stop = new AbortController()
    const follow = async () => {
      for (let from = 0; !stop.signal.aborted; ) {
        const more = await act.output(first.current, from, stop.signal)
        from = more.next
        setText((was) => was + more.output)
        setCut(more.output_truncated ?? false)
        if (!more.ended) continue
        setLive(false)
        await client.invalidateQueries({ queryKey: ['agents', 'orders'] })
        return
      }
    }
    follow().catch(() => setLive(false)) // the page was left, or the server is away: the state above says so
    return () => stop.abort()
  }, [client])
  return (
    <div className={css.output}>
      <pre className={css.text} role="log" aria-label={t('commands.output')} aria-busy={live} tabIndex={0}>{text || t(live ? 'commands.noOutput' : 'commands.printedNothing')}</pre>
      {cut && <p className={ui.sub}>{t('commands.truncated')}</p>}
    </div>
  )
}
