import { Modal, Switch } from '@mantine/core'
import { Fragment } from 'react'
import { useTranslation } from 'react-i18next'
import css from './alerts.module.css'

const keys = [
  ['move', ['j', 'k', '↓', '↑']],
  ['open', ['Enter']],
  ['acknowledge', ['a']],
  ['resolve', ['r']],
  ['filter', ['/']],
  ['close', ['Esc']],
  ['help', ['?']],
] as const

interface Props {
  onClose: () => void
  letters: boolean
  onLetters: (on: boolean) => void
}

export default function Keys({ onClose, letters, onLetters }: Props) {
  const { t } = useTranslation()
  return (
    <Modal opened onClose={onClose} title={t('triage.keysTitle')} closeButtonProps={{ 'aria-label': t('close') }}>
      <dl className={css.keys}>
        {keys.map(([deed, names]) => (
          <Fragment key={deed}>
            <dt>{names.map((name) => <kbd key={name} className={css.key}>{name}</kbd>)}</dt>
            <dd>{t(`triage.key.${deed}`)}</dd>
          </Fragment>
        ))}
      </dl>
      <Switch checked={letters} onChange={(e) => onLetters(e.currentTarget.checked)} label={t('triage.letters')} description={t('triage.lettersHint')} />
    </Modal>
  )
}
