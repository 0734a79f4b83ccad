import { useTranslation } from 'react-i18next'
import { techniqueLink, techniqueName } from '../lib/techniques'
import css from './ui.module.css'

/** ATT&CK techniques by id and name; the link leaves Picket only when someone follows it. */
export function Techniques({ ids, long }: { ids: readonly string[] | null | undefined; long?: boolean }) {
  const { t } = useTranslation()
  if (!ids || ids.length === 0) return <span className="dim">–</span>
  return (
    <ul className={css.chips}>
      {ids.map((id) => {
        const name = techniqueName(id)
        const link = techniqueLink(id)
        const text = <><span className="mono">{id}</span>{long && name && <span>{name}</span>}</>
        return (
          <li key={id}>
            {link
              ? <a className={css.chip} href={link} target="_blank" rel="noopener noreferrer" title={t('techniques.opens', { name: name ?? id })}>{text}</a>
              : <span className={css.chip}>{text}</span>}
          </li>
        )
      })}
    </ul>
  )
}
