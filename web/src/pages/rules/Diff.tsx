import { useMemo } from 'react'
import { useTranslation } from 'react-i18next'
import { diff } from '../../lib/ruleText'
import css from './rules.module.css'

/** How one text becomes another. What was added and taken out carries a sign and a word, not only a colour. */
export function Diff({ before, after }: { before: string; after: string }) {
  const { t } = useTranslation()
  const lines = useMemo(() => diff(before, after), [before, after])
  if (lines.length === 0) return <p className="dim">{t('rule.unchanged')}</p>
  return (
    <div className={css.diff} role="region" aria-label={t('rule.diff')} tabIndex={0}>
      <ol>
        {lines.map((l, i) => l === null ? <li key={i} data-sign="skip">⋯ {t('rule.diffSkip')}</li> : (
          <li key={i} data-sign={l.sign}>
            <span aria-hidden="true">{l.sign} </span>
            {l.sign !== ' ' && <span className="visually-hidden">{t(l.sign === '+' ? 'rule.added' : 'rule.taken')}: </span>}
            {l.text}
          </li>
        ))}
      </ol>
    </div>
  )
}
