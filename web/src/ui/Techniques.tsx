import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { domainOf, techniqueLink, techniqueName } from '../lib/techniques'
import '../locales/alerts'
import css from './ui.module.css'

interface Props {
  ids: readonly string[] | null | undefined
  long?: boolean
  /** They lead to their place in our matrix instead of to their description. */
  matrix?: boolean
}

/** ATT&CK techniques by id and name; a link leaves Picket only when someone follows it. */
export function Techniques({ ids, long, matrix }: Props) {
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
            {!link ? <span className={css.chip}>{text}</span>
              : matrix ? <Link className={css.chip} to="/attack" search={{ technique: id, domain: domainOf(id) }} title={t('techniques.inMatrix', { name: name ?? id })}>{text}</Link>
              : <a className={css.chip} href={link} target="_blank" rel="noopener noreferrer" title={t('techniques.opens', { name: name ?? id })}>{text}</a>}
          </li>
        )
      })}
    </ul>
  )
}
