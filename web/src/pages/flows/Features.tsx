// The features of a flow in groups, each with a small chart of where similar flows lie.
import { Checkbox } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Feature } from '../../api/traffic'
import { boxOf, standing } from '../../lib/baseline'
import { featureGroups, featureName, featureValue, groupOf } from '../../lib/flowWords'
import { count } from '../../lib/format'
import { Panel } from '../../ui/Page'
import css from './flow.module.css'

/** With fewer similar flows the middle nine tenths say nothing. */
const enough = 5

export function Features({ features, like }: { features: Feature[]; like: number }) {
  const { t } = useTranslation()
  const [only, setOnly] = useState(false)
  if (features.length === 0) return null
  const compared = like >= enough
  const unusual = compared ? features.filter((f) => standing(f.value, f) !== 'usual') : []
  const shown = only && unusual.length > 0 ? unusual : features
  const groups = featureGroups.map((g) => [g, shown.filter((f) => groupOf(f.name) === g)] as const).filter(([, l]) => l.length > 0)
  return (
    <Panel title={t('traffic.flow.features')} hint={compared ? t('traffic.flow.featuresHint', { count: like, n: count(like) }) : t('traffic.flow.noBaseline')}
      actions={unusual.length > 0 && <Checkbox size="xs" label={`${t('traffic.flow.onlyUnusual')} (${unusual.length})`} checked={only} onChange={(e) => setOnly(e.currentTarget.checked)} />}>
      {compared && <p className={css.legend}><Sample /> {t('traffic.flow.legend')}</p>}
      <div className={css.groups}>
        {groups.map(([group, list]) => (
          <section key={group} aria-label={t(`traffic.flow.groups.${group}`)}>
            <h3>{t(`traffic.flow.groups.${group}`)}</h3>
            <dl className={css.features}>{list.map((f) => <Line key={f.name} feature={f} compared={compared} />)}</dl>
          </section>
        ))}
      </div>
    </Panel>
  )
}

function Line({ feature: f, compared }: { feature: Feature; compared: boolean }) {
  const { t } = useTranslation()
  const is = compared ? standing(f.value, f) : 'usual'
  const say = (value: number) => featureValue(value, f.unit)
  return (
    <div data-standing={is}>
      <dt title={f.doc}>{featureName(f.name)}</dt>
      <dd>
        {compared && <BoxChart feature={f} label={t('traffic.flow.box', { value: say(f.value), low: say(f.p5), high: say(f.p95), middle: say(f.p50) })} />}
        <span className="num">{say(f.value)}</span>
        {is !== 'usual' && <span className={css.standing}>{t(`traffic.flow.standing.${is}`)}</span>}
      </dd>
    </div>
  )
}

function BoxChart({ feature: f, label }: { feature: Feature; label: string }) {
  const box = boxOf(f.value, f)
  if (!box) return null
  return <svg className={css.box} viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label={label}><title>{label}</title><Drawn {...box} /></svg>
}

function Drawn({ low, middle, high, value }: { low: number; middle: number; high: number; value: number }) {
  const at = (part: number) => part * 100
  return (
    <>
      <line className={css.axis} x1="0" x2="100" y1="7" y2="7" />
      <rect className={css.usual} x={at(low) - 0.6} width={Math.max(1.2, at(high) - at(low) + 1.2)} y="3.500" height="7" />
      <line className={css.middle} x1={at(middle)} x2={at(middle)} y1="3.500" y2="10.500" />
      <line className={css.value} x1={at(value)} x2={at(value)} y1="0.500" y2="13.500" />
    </>
  )
}

function Sample() {
  return <svg className={css.box} viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true" focusable="false"><Drawn low={0.2} middle={0.38} high={0.62} value={0.85} /></svg>
}
