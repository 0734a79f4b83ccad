// Plugin by version by machine. A bar shows how the machines are spread over the versions; each version lists them.
import { Button } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Fleet, FleetPlugin, FleetUser, FleetVersion } from '../../api/market'
import { pluginPath } from '../../api/queries'
import { count } from '../../lib/format'
import { wantedIn } from '../../lib/fleet'
import { newness } from '../../lib/versions'
import { KindBadge } from '../../ui/kinds'
import { State, StateMark } from '../../ui/marks'
import css from './fleet.module.css'

interface Props {
  fleet: Fleet
  onUpdate?: (plugin: FleetPlugin) => void
  onPolicy?: (plugin: FleetPlugin) => void
}

export function Matrix({ fleet: f, onUpdate, onPolicy }: Props) {
  const agents = new Set(f.nodes.filter((n) => n.type === 'agent').map((n) => n.id))
  const groups = new Map(f.nodes.map((n) => [n.id, n.group]))
  return (
    <ul className={css.matrix}>
      {f.plugins.filter((p) => p.versions.length > 0).map((p) => <Row key={p.id} plugin={p} groups={groups} rolls={p.versions.some((v) => v.nodes.some((n) => agents.has(n.id)))} onUpdate={onUpdate} onPolicy={onPolicy} />)}
    </ul>
  )
}

/** What runs on the server alone is updated there; a rollout is for machines. */
function Row({ plugin: p, groups, rolls, onUpdate, onPolicy }: Omit<Props, 'fleet'> & { plugin: FleetPlugin; groups: Map<string, string | undefined>; rolls: boolean }) {
  const { t } = useTranslation()
  const total = p.versions.reduce((sum, v) => sum + v.nodes.length, 0)
  const byGroup = Object.entries(p.wanted_by_group ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const is = newness(p.newest, [p.wanted, ...byGroup.map(([, v]) => v)])
  const newer = is === 'older'
  return (
    <li className={css.row}>
      <div className={css.plugin}>
        <KindBadge kind={p.kind} />
        <div>
          <h3><Link to="/plugins/$ns/$name" params={pluginPath(p.id)} className={css.name}>{p.title || p.id}</Link></h3>
          <p className={`dim ${css.small}`}>{t('fleet.wanted', { version: p.wanted || '–' })}</p>
          {byGroup.length > 0 && (
            <ul className={`dim ${css.small}`} aria-label={t('fleet.byGroup')}>
              {byGroup.map(([group, version]) => <li key={group} className="break">{t('fleet.wantedIn', { group, version })}</li>)}
            </ul>
          )}
          {newer && <p className={css.small}><StateMark tone="busy">{t('market.updateTo', { version: p.newest })}</StateMark></p>}
          {is === 'none' && <p className={css.small}><StateMark tone="bad">{t('policy.none')}</StateMark></p>}
          {p.overrides.length > 0 && <p className={css.small}><StateMark tone="bad">{t('fleet.overridden', { count: p.overrides.length })}</StateMark></p>}
        </div>
      </div>
      <div className={css.versions}>
        {p.versions.length > 1 && (
          <div className={css.bar} aria-hidden="true">
            {p.versions.map((v, n) => <span key={v.version} data-n={n % 4} style={{ flexGrow: v.nodes.length }} />)}
          </div>
        )}
        <ul>{p.versions.map((v, n) => <Version key={v.version} version={v} strays={v.nodes.filter((n) => wantedIn(p, groups.get(n.id)) !== v.version).length} swatch={p.versions.length > 1 ? n % 4 : undefined} total={total} />)}</ul>
      </div>
      <div className={css.policy}>
        <p className={css.small}>{t(`policy.is.${p.policy.auto}`, { count: p.policy.cooldown_days })}</p>
        {p.policy.waiting && <p className={`dim ${css.small}`}>{p.policy.waiting}</p>}
        <div className={css.buttons}>
          {onPolicy && <Button size="compact-xs" variant="default" onClick={() => onPolicy(p)} aria-label={t('policy.change', { name: p.title || p.id })}>{t('policy.button')}</Button>}
          {onUpdate && !p.rollout && newer && (rolls
            ? <Button size="compact-xs" onClick={() => onUpdate(p)} aria-label={t('rollout.of', { name: p.title || p.id })}>{t('rollout.start')}</Button>
            : <Button size="compact-xs" variant="default" component={Link} to={`/market/${p.id}`} aria-label={t('fleet.updateOne', { name: p.title || p.id })}>{t('fleet.update')}</Button>)}
        </div>
      </div>
    </li>
  )
}

const shownAtFirst = 6

/** Machines that are not well come first, and are always shown. */
const worstFirst = (nodes: FleetUser[]) => nodes.toSorted((a, b) => Number(a.state === 'ready') - Number(b.state === 'ready') || (a.name < b.name ? -1 : 1))

/** `strays` are the machines that run it and should run another. */
function Version({ version: v, strays, swatch, total }: { version: FleetVersion; strays: number; swatch?: number; total: number }) {
  const { t } = useTranslation()
  const [all, setAll] = useState(false)
  const ordered = worstFirst(v.nodes)
  const shown = all ? ordered : ordered.slice(0, shownAtFirst)
  return (
    <li className={css.version}>
      <p className={css.versionHead}>
        {swatch !== undefined && <span className={css.swatch} data-n={swatch} aria-hidden="true" />}
        <strong className="num">{v.version}</strong>
        <span className="dim num">{t('fleet.ofNodes', { n: count(v.nodes.length), count: total })}</span>
        {strays > 0 && <span className="dim">{strays === v.nodes.length ? t('fleet.notWanted') : t('fleet.strays', { count: strays })}</span>}
      </p>
      <ul className={css.nodes}>
        {shown.map((n) => (
          <li key={n.id} title={n.reason}>
            {n.state === 'ready' ? <span>{n.name || n.id}</span> : <><span>{n.name || n.id}</span> <State of={n.state} /></>}
          </li>
        ))}
        {ordered.length > shownAtFirst && (
          <li className={css.moreNodes}><button type="button" aria-expanded={all} onClick={() => setAll(!all)}>{all ? t('fleet.fewer') : t('fleet.moreMachines', { count: ordered.length - shownAtFirst })}</button></li>
        )}
      </ul>
    </li>
  )
}
