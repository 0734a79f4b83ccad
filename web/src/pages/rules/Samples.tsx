import { useTranslation } from 'react-i18next'
import type { RuleProblem } from '../../api/rules'
import { samplesOf, type RuleLines } from '../../lib/ruleText'
import { StateMark } from '../../ui/marks'
import css from './rules.module.css'

/** Whether a rule does what its author says, sample by sample. Samples are tried once nothing else is wrong with the rule. */
export function Samples({ text, rule, problems, known }: { text: string; rule: RuleLines; problems: RuleProblem[]; known: boolean }) {
  const { t } = useTranslation()
  const counts = samplesOf(text, rule)
  const own = problems.filter((p) => p.rule === rule.id || (p.line > rule.from && p.line <= rule.to))
  const said = own.filter((p) => p.text.startsWith('sample '))
  const tried = known && own.length === said.length
  if (counts.fires + counts.silent === 0) return <p className="dim">{t('rule.samplesNone')}</p>
  return (
    <div className={css.samples}>
      {(['fires', 'silent'] as const).map((kind) => {
        const bad = said.filter((p) => p.text.includes(` of ${kind} `))
        return [
          <span key={kind}>{t(`rule.${kind}`, { count: counts[kind] })}</span>,
          <span key={`${kind} state`}>
            {bad.length > 0 ? bad.map((p) => <StateMark key={p.text} tone="bad">{p.text}</StateMark>)
              : tried ? <StateMark tone="good">{t('rule.passed')}</StateMark> : <StateMark tone="off">{t('rule.unknown')}</StateMark>}
          </span>,
        ]
      })}
    </div>
  )
}
