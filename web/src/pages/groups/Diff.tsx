// What is different between two versions, for people. Of secrets there is only that they differ.
import { useTranslation } from 'react-i18next'
import type { ConfigDiff } from '../../api/groups'
import { plain } from '../../lib/groups'
import { StateMark } from '../../ui/marks'
import ui from '../../ui/ui.module.css'
import css from './groups.module.css'

const tones = { added: 'good', removed: 'bad', changed: 'warn' } as const

export function Diff({ diff: d }: { diff: ConfigDiff }) {
  const { t } = useTranslation()
  if (d.changes.length === 0) return <p className="dim">{t('configs.same')}</p>
  return (
    <div className={css.diff}>
      {d.changes.map((c) => (
        <section key={c.instance} className={css.change}>
          <h3>{c.plugin} <StateMark tone={tones[c.change]}>{t(`configs.changes.${c.change}`)}</StateMark></h3>
          <table className={ui.table}>
            <caption className="visually-hidden">{c.plugin}</caption>
            <thead><tr><th scope="col">{t('configs.setting')}</th><th scope="col">{t('configs.was')}</th><th scope="col">{t('configs.becomes')}</th></tr></thead>
            <tbody>
              {c.fields.map((f) => (
                <tr key={f.path}>
                  <td>{f.path}</td>
                  <td className={f.from === undefined ? undefined : css.was}>{plain(f.from)}</td>
                  <td className={f.to === undefined ? undefined : css.becomes}>{plain(f.to)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      ))}
    </div>
  )
}
