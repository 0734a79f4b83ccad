import { TextInput } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import vocabulary from '../../lib/ruleFields.json'
import { Panel } from '../../ui/Page'
import ui from '../../ui/ui.module.css'
import css from './rules.module.css'

interface Field {
  name: string
  type: string
  unit?: string
  doc: string
}

const kinds: Partial<Record<string, Field[]>> = vocabulary.kinds

/** What a condition can say of the kind of records that a rule looks at. */
export function Fields({ kind, onPick }: { kind: string; onPick: ((name: string) => void) | undefined }) {
  const { t } = useTranslation()
  const [part, setPart] = useState('')
  const wanted = part.trim().toLowerCase()
  const fields = (kinds[kind] ?? []).filter((f) => `${f.name} ${f.doc}`.toLowerCase().includes(wanted))
  const known = kinds[kind] !== undefined
  return (
    <Panel title={known ? t('rule.fieldsOf', { kind: t(`rules.kinds.${kind as 'dns'}`) }) : t('rule.fields')}>
      {!known ? <p className="dim">{t('rule.noFields')}</p> : (
        <>
          <TextInput label={t('rule.fieldFilter')} value={part} onChange={(e) => setPart(e.currentTarget.value)} />
          <div className={css.fields} tabIndex={0} role="region" aria-label={t('rule.fields')}>
            {fields.length === 0 ? <p className="dim">{t('rule.noField')}</p> : (
              <ul>
                {fields.map((f) => <li key={f.name}><Entry name={f.name} type={[f.type, f.unit].filter(Boolean).join(', ')} doc={f.doc} pick={f.name} onPick={onPick} /></li>)}
              </ul>
            )}
          </div>
          <h3>{t('rule.functions')}</h3>
          <div className={css.fields} tabIndex={0} role="region" aria-label={t('rule.functions')}>
            <ul>
              {vocabulary.functions.map((f) => <li key={f.name}><Entry name={f.name} type="" doc={f.doc.replaceAll('`', '')} pick={f.name} onPick={onPick} /></li>)}
            </ul>
          </div>
        </>
      )}
    </Panel>
  )
}

function Entry({ name, type, doc, pick, onPick }: { name: string; type: string; doc: string; pick: string; onPick: ((name: string) => void) | undefined }) {
  const { t } = useTranslation()
  return (
    <button type="button" disabled={!onPick} title={onPick && t('rule.fieldInsert', { name })} onClick={() => onPick?.(pick)}>
      <code>{name}</code>{type && <span className={css.type}>{type}</span>}
      <div className={ui.sub}>{doc}</div>
    </button>
  )
}
