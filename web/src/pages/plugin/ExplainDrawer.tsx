// Why this process may run: the whole chain, from what this server trusts to the process itself.
import { Drawer } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { explanation } from '../../api/queries'
import type { Explanation, PluginInstance } from '../../api/types'
import '../../locales/plugins'
import { State } from '../../ui/marks'
import { Fact, Facts } from '../../ui/Page'
import { PermissionText } from '../../ui/Permissions'
import { Loaded } from '../../ui/states'
import { Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import css from '../plugins.module.css'
import { ConfinementFacts, LevelMark } from './Confinement'

export default function ExplainDrawer({ instance: i, onClose }: { instance: PluginInstance; onClose: () => void }) {
  const { t } = useTranslation()
  const query = useQuery(explanation(i))
  return (
    <Drawer opened onClose={onClose} position="right" size="lg" title={t('explain.title')} closeButtonProps={{ 'aria-label': t('close') }}>
      <Loaded query={query}>{(e) => <Chain explanation={e} />}</Loaded>
    </Drawer>
  )
}

function Chain({ explanation: e }: { explanation: Explanation }) {
  const { t } = useTranslation()
  const r = e.release
  return (
    <ol className={css.chain}>
      <Link title={t('explain.root')} text={t('explain.rootText')}>
        <Fact name={t('explain.registry')}><span className="mono">{e.registry.base || '–'}</span></Fact>
        <Fact name={t('plugin.trust')}>{t(`plugin.trusts.${e.registry.trust}` as 'plugin.trusts.release', { defaultValue: e.registry.trust })}</Fact>
        <Fact name={t('explain.rootDigest')}><Digest of={e.registry.root_sha256} /></Fact>
        <Fact name={t('explain.refreshed')}><Time at={e.registry.refreshed} /></Fact>
      </Link>
      <Link title={t('explain.keys')} text={t('explain.keysText')}>
        <Fact name={t('explain.role')}>{r.role || '–'}</Fact>
        <Fact name={t('explain.keyIds')}>{r.key_ids?.length ? <ul>{r.key_ids.map((k) => <li key={k}><Digest of={k} /></li>)}</ul> : '–'}</Fact>
      </Link>
      <Link title={t('explain.bytes')} text={t('explain.bytesText')}>
        <Fact name={t('plugin.id')}><span className="mono">{e.plugin}</span></Fact>
        <Fact name={t('plugins.version')}>{r.version || '–'}</Fact>
        <Fact name={t('explain.descriptor')}><Digest of={r.descriptor} /></Fact>
        <Fact name={t('explain.program')}><Digest of={r.digest} /></Fact>
      </Link>
      <Link title={t('explain.grants')} text={t('explain.grantsText')}>
        <Fact name={t('explain.by')}>{e.granted_by || '–'}</Fact>
        <Fact name={t('explain.at')}><Time at={e.granted_at} /></Fact>
        {r.grants_sha256 && <Fact name={t('explain.pinned')}><Digest of={r.grants_sha256} /></Fact>}
        <Fact name={t('explain.granted')}>
          {e.granted.length === 0 ? t('explain.nothing') : <ul className={ui.perms}>{e.granted.map((p, n) => <li key={n}><PermissionText permission={{ ...p, reason: undefined }} /></li>)}</ul>}
        </Fact>
        <Fact name={t('explain.ceiling')}>{e.ceiling || t('explain.ceilingElsewhere')}</Fact>
      </Link>
      <Link title={t('plugin.confinement')} text={t('explain.confinementText')} more={r.confinement && <ConfinementFacts report={r.confinement} />}>
        {r.confinement && <Fact name={t('explain.level')}><LevelMark level={r.confinement.level} /></Fact>}
      </Link>
      <Link title={t('explain.process')}>
        <Fact name={t('explain.instance')}><span className="mono">{e.instance}</span></Fact>
        <Fact name={t('explain.node')}>{e.node.type === 'server' ? t('explain.server') : e.node.name || e.node.id}</Fact>
        <Fact name={t('plugins.state')}><State of={e.state} /></Fact>
        {e.reason && <Fact name={t('explain.reason')}>{e.reason}</Fact>}
        {r.confinement && <Fact name="PID">{r.confinement.pid}</Fact>}
        {!!r.shares?.length && <Fact name={t('explain.shares')}>{r.shares.join(', ')}</Fact>}
      </Link>
      {e.incomplete && <li className={css.reason}>{t('explain.incomplete', { why: e.incomplete })}</li>}
    </ol>
  )
}

function Link({ title, text, more, children }: { title: string; text?: string; more?: React.ReactNode; children?: React.ReactNode }) {
  return (
    <li>
      <h3>{title}</h3>
      {text && <p className="dim">{text}</p>}
      {children && <Facts>{children}</Facts>}
      {more}
    </li>
  )
}

function Digest({ of }: { of: string | undefined }) {
  return of ? <span className="mono break">{of}</span> : <>–</>
}
