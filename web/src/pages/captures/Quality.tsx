// How much of a capture could be read, and what was lost on the way.
import { useTranslation } from 'react-i18next'
import type { Capture, CaptureQuality } from '../../api/types'
import { bytes, count, percent } from '../../lib/format'
import { counted, isGood, layersOf, linkType, outcomesOf, understood } from '../../lib/quality'
import '../../locales/traffic'
import { Meter } from '../../ui/marks'
import { Fact, Facts, Panel } from '../../ui/Page'
import css from '../captures.module.css'

export function Quality({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  const q = c.quality
  return (
    <Panel title={t('traffic.quality.title')} hint={t('traffic.quality.hint')}>
      <div className={css.quality}>
        {c.packets > 0 && (q ?? c.state === 'done') && (
          <div>
            <span className={css.share}>{percent(understood(c))} <span className="dim">{c.truncated ? t('traffic.quality.readPart', { count: c.packets, n: count(c.packets) }) : t('traffic.quality.read')}</span></span>
            <Meter value={c.packets - c.undecoded} of={c.packets} label={t('traffic.quality.read')} />
          </div>
        )}
        {q && isGood(q) && c.undecoded === 0 && !c.truncated && <p>{t('traffic.quality.good')}</p>}
        <Facts>
          {q ? outcomesOf(q).map(([name, n]) => <Fact key={name} name={t(`traffic.quality.outcomes.${name}` as 'traffic.quality.outcomes.flow', { defaultValue: name })}><span className="num">{count(n)}</span></Fact>)
            : <Fact name={t('traffic.quality.undecoded')}>{c.state === 'done' ? count(c.undecoded) : '–'}</Fact>}
          {q && <Further of={q} />}
        </Facts>
      </div>
    </Panel>
  )
}

/** What is not zero; a capture without faults has a short list. */
function Further({ of: q }: { of: CaptureQuality }) {
  const { t } = useTranslation()
  const layers = layersOf(q)
  const told = counted(q.told_no_more)
  const losses = [
    ['dropped', q.dropped], ['short', q.short], ['joined', q.fragments_joined], ['givenUp', q.fragments_given_up], ['overlaps', q.fragment_overlaps],
    ['conflicts', q.stream_conflicts], ['unread', (q.given_up ?? 0) + (q.panics ?? 0)], ['secrets', q.secrets],
  ] as const
  return (
    <>
      {losses.map(([name, n]) => !!n && <Fact key={name} name={t(`traffic.quality.${name}`)}><span className="num">{count(n)}</span></Fact>)}
      {!!q.stream_gaps && <Fact name={t('traffic.quality.gaps')}>{t('traffic.quality.gapsOf', { n: count(q.stream_gaps), bytes: bytes(q.stream_missing ?? 0) })}</Fact>}
      <Fact name={t('traffic.quality.facts')}>{q.facts_dropped ? t('traffic.quality.factsDropped', { n: count(q.facts), dropped: count(q.facts_dropped) }) : count(q.facts)}</Fact>
      {told.length > 0 && (
        <Fact name={t('traffic.quality.toldNoMore')}>
          <ul className={css.layers}>{told.map(([kind, n]) => <li key={kind}>{t(`traffic.facts.kinds.${kind}` as 'traffic.facts.kinds.dns', { defaultValue: kind })} <b className="num">{t('traffic.flows.total', { count: n, n: count(n) })}</b></li>)}</ul>
          <span className="dim">{t('traffic.quality.toldNoMoreText')}</span>
        </Fact>
      )}
      {layers.length > 0 && (
        <Fact name={t('traffic.quality.layers')}>
          <ul className={css.layers}>{layers.map(([name, n]) => <li key={name}>{t(`traffic.quality.layerNames.${name}` as 'traffic.quality.layerNames.tcp', { defaultValue: name })} <b className="num">{count(n)}</b></li>)}</ul>
        </Fact>
      )}
      {q.linktypes.length > 0 && <Fact name={t('traffic.quality.links')}>{q.linktypes.map(linkType).join(', ')}</Fact>}
      {!!q.notes?.length && <Fact name={t('traffic.quality.notes')}><ul>{q.notes.map((note) => <li key={note} className="break">{note}</li>)}</ul></Fact>}
    </>
  )
}
