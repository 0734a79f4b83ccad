// The features of a flow: what stands out beside similar flows, and all of them in groups behind that.
import { useTranslation } from 'react-i18next'
import type { Feature } from '../../api/traffic'
import { boxOf, standing } from '../../lib/baseline'
import { enoughPeers, partsOf, unusualOf } from '../../lib/features'
import { featureGroups, featureValue, groupOf } from '../../lib/flowWords'
import { count } from '../../lib/format'
import { Panel } from '../../ui/Page'
import css from './flow.module.css'

export function Features({ features, like }: { features: Feature[]; like: number }) {
  const { t } = useTranslation()
  if (features.length === 0) return null
  const compared = like >= enoughPeers
  const unusual = compared ? unusualOf(features) : []
  const groups = featureGroups.map((g) => [g, features.filter((f) => groupOf(f.name) === g)] as const).filter(([, l]) => l.length > 0)
  return (
    <Panel title={t('traffic.flow.features')} hint={compared ? t('traffic.flow.featuresHint', { n: count(like) }) : undefined}>
      {!compared && <p>{t('traffic.flow.fewPeers', { n: count(like), enough: count(enoughPeers) })}</p>}
      {compared && unusual.length === 0 && <p>{t('traffic.flow.unusualNone')}</p>}
      {unusual.length > 0 && (
        <section className={css.unusual} aria-label={t('traffic.flow.unusual')}>
          <h3>{t('traffic.flow.unusual')}</h3>
          <dl className={css.features}>{unusual.map((f) => <Line key={f.name} feature={f} compared />)}</dl>
        </section>
      )}
      {compared && <p className={css.legend}><Sample /> {t('traffic.flow.legend')}</p>}
      <details className={css.every}>
        <summary>{t('traffic.flow.allFeatures', { n: count(features.length) })}</summary>
        <div className={css.groups}>
          {groups.map(([group, list]) => (
            <section key={group} aria-label={t(`traffic.flow.groups.${group}`)}>
              <h3>{t(`traffic.flow.groups.${group}`)}</h3>
              <dl className={css.features}>{list.map((f) => <Line key={f.name} feature={f} compared={compared} />)}</dl>
            </section>
          ))}
        </div>
      </details>
    </Panel>
  )
}

/** "Packet length to the server, average"; a feature that is newer than this page keeps its name. */
function useTitle(): (name: string) => string {
  const { t } = useTranslation()
  return (name) => {
    const p = partsOf(name)
    const base = t(`traffic.flow.featureWords.base.${p.base}` as 'traffic.flow.featureWords.base.len', { defaultValue: '' })
    if (!base) return name.replaceAll('_', ' ')
    const what = [base, p.n, p.way && t(`traffic.flow.featureWords.way.${p.way}`)].filter(Boolean).join(' ')
    return p.stat ? `${what}, ${t(`traffic.flow.featureWords.stat.${p.stat}`)}` : what
  }
}

function Line({ feature: f, compared }: { feature: Feature; compared: boolean }) {
  const { t } = useTranslation()
  const title = useTitle()
  const is = compared ? standing(f.value, f) : 'usual'
  const say = (value: number) => featureValue(value, f.unit)
  return (
    <div data-standing={is}>
      <dt title={f.doc && t('traffic.flow.featureWords.tip', { name: f.name, formula: f.doc })}>{title(f.name)}</dt>
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
