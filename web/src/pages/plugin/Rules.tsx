import { useTranslation } from 'react-i18next'
import type { Plugin } from '../../api/types'
import '../../locales/plugins'
import { SeverityMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Techniques } from '../../ui/Techniques'
import css from '../plugins.module.css'

/** What a detector can find, and what else that could be. */
export function Rules({ rules }: { rules: Plugin['rules'] }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('plugin.rules')}>
      <ul className={css.rules}>
        {rules.map((r) => (
          <li key={r.id}>
            <div className={css.ruleHead}>
              <strong className="mono">{r.id}</strong>
              <SeverityMark severity={r.severity} />
              <Techniques ids={r.techniques} long matrix />
            </div>
            <p>{r.purpose}</p>
            {r.false_positives.length > 0 && <p className="dim">{t('plugin.benign', { list: r.false_positives.join(' ') })}</p>}
          </li>
        ))}
      </ul>
    </Panel>
  )
}
