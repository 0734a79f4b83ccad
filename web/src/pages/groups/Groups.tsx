// The groups as a tree, and how many machines of each are there.
import '../../locales/groups'
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { groups, type Groups } from '../../api/groups'
import { useMay } from '../../api/useMay'
import { everybody, treeOf } from '../../lib/groups'
import { PlusIcon } from '../../ui/icons'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import { Counts } from './Counts'
import { GroupDialog } from './GroupDialog'
import css from './groups.module.css'

export function GroupsPage() {
  const { t } = useTranslation()
  const can = useMay()
  const query = useQuery(groups)
  const [making, setMaking] = useState(false)
  const make = can('agents:admin') && <Button leftSection={<PlusIcon />} onClick={() => setMaking(true)}>{t('group.make')}</Button>
  return (
    <Page title={t('group.title')} lead={t('group.lead')} actions={make}>
      {making && <GroupDialog onClose={() => setMaking(false)} />}
      <Panel title={t('group.title')} flush>
        <Loaded query={query}>
          {(all) => (
            <>
              <Tree all={all} />
              {all.items.length === 0 && <Empty title={t('group.none')} action={make}>{t('group.noneText')}</Empty>}
            </>
          )}
        </Loaded>
      </Panel>
    </Page>
  )
}

function Tree({ all }: { all: Groups }) {
  const { t } = useTranslation()
  return (
    <table className={`${ui.table} ${css.tree}`}>
      <caption className="visually-hidden">{t('group.tree')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('group.name')}</th>
          <th scope="col">{t('group.machines')}</th>
          <th scope="col" className={ui.medium}>{t('group.rules')}</th>
        </tr>
      </thead>
      <tbody>
        <tr className={ui.row}>
          <td><Link to="/groups/$name" params={{ name: everybody }} className={ui.main}>{t('group.all')}</Link></td>
          <td><Counts of={all.all} /></td>
          <td className={ui.medium} />
        </tr>
        {treeOf(all.items).map(({ group: g, depth }) => (
          <tr key={g.name} className={ui.row}>
            <td>
              <div className={css.branch} data-depth={depth}>
                <span aria-hidden="true">└</span>
                <div>
                  <Link to="/groups/$name" params={{ name: g.name }} className={ui.main}>{g.name}</Link>
                  {g.parent !== everybody && <span className="visually-hidden">, {t('group.parent')} {g.parent}</span>}
                  {g.description && <div className={ui.sub}>{g.description}</div>}
                </div>
              </div>
            </td>
            <td><Counts of={g.counts} /></td>
            <td className={ui.medium}>{g.rules.length > 0 ? <Rules rules={g.rules} /> : <span className="dim">{t('group.byHand')}</span>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function Rules({ rules }: { rules: string[] }) {
  return <span className={css.rules}>{rules.map((r) => <code key={r}>{r}</code>)}</span>
}
