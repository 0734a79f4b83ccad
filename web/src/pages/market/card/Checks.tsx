// The gates a release went through. What did not run is never shown as passed: it is amber, and it caps the tier.
import { useTranslation } from 'react-i18next'
import type { Gate, GateState, MarketPlugin } from '../../../api/market'
import { gateCounts, gatesWorstFirst, gateState, short, tierOf } from '../../../lib/market'
import { TierMark } from '../../../ui/kinds'
import { StateMark, type Tone } from '../../../ui/marks'
import { Panel } from '../../../ui/Page'
import { Time } from '../../../ui/Time'
import css from '../card.module.css'

const tones: Record<GateState, Tone> = { passed: 'good', warning: 'warn', 'not checked': 'warn', failed: 'bad' }

/** The name of the registry that this server serves itself. */
const own = 'own'

export function Checks({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const card = p.card
  if (!card || card.gates.length === 0) {
    return (
      <Panel title={t('card.checks')} hint={<StateMark tone="warn">{t('gates.states.not checked')}</StateMark>}>
        <p className="dim">{t('card.noChecks')}</p>
      </Panel>
    )
  }
  const counts = gateCounts(card.gates)
  return (
    <Panel title={t('card.checks')} hint={<TierMark tier={tierOf(card)} />}>
      <p className={`dim ${css.intro}`}>
        {(['failed', 'warning', 'not checked', 'passed'] as const).filter((s) => counts[s] > 0).map((s) => t(`gates.counts.${s}`, { count: counts[s] })).join(' · ')}
        {' · '}<Time at={card.time} />
      </p>
      <GateList gates={card.gates} kept={p.registry === own} />
      {card.sbom_sha256 && <p className={`dim ${css.note}`}>{t('card.sbom')} <Evidence digest={card.sbom_sha256} kept={p.registry === own} /></p>}
    </Panel>
  )
}

/** Each gate with what it found; with `fix`, what an author can do about it. What passed is folded. */
export function GateList({ gates, fix, kept }: { gates: readonly Gate[]; fix?: boolean; /** This server has the evidence. */ kept?: boolean }) {
  const { t } = useTranslation()
  return (
    <ul className={css.gates}>
      {gatesWorstFirst(gates).map((g) => {
        const state = gateState(g)
        const help = fix && state !== 'passed' ? t(`gates.fix.${g.name as 'size'}`, { defaultValue: '' }) : ''
        return (
          <li key={g.name}>
            <details open={state !== 'passed' || undefined}>
              <summary className={css.gate}>
                <strong>{t(`gates.names.${g.name as 'size'}`, { defaultValue: g.name })}</strong>
                <StateMark tone={tones[state]}>{t(`gates.states.${state}`)}</StateMark>
              </summary>
              {g.summary && <p className="dim">{g.summary}</p>}
              {g.details && g.details.length > 0 && <ul className={css.details}>{g.details.map((d, n) => <li key={n}>{d}</li>)}</ul>}
              {g.evidence_sha256 && <p className="dim">{t('gates.evidence')} <Evidence digest={g.evidence_sha256} kept={kept} /></p>}
              {help && <p className={css.fix}>{help}</p>}
            </details>
          </li>
        )
      })}
    </ul>
  )
}

/** What a gate saw, kept by the registry under its digest. */
function Evidence({ digest, kept }: { digest: string; kept?: boolean }) {
  const text = <code title={digest}>{short(digest)}</code>
  return kept ? <a href={`/registry/store/sha256/${digest}`} download={`${digest}.json`}>{text}</a> : text
}
