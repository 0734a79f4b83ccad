import { Modal, Switch } from '@mantine/core'
import { Fragment } from 'react'
import { useTranslation } from 'react-i18next'
import '../../locales/alerts'
import css from './alerts.module.css'

const keys = {
  alerts: [
    ['triage.key.move', ['j', 'k', '↓', '↑']], ['triage.key.open', ['Enter']], ['triage.key.acknowledge', ['a']], ['triage.key.resolve', ['r']],
    ['triage.key.suppress', ['s']], ['triage.key.filter', ['/']], ['triage.key.close', ['Esc']], ['triage.key.help', ['?']],
  ],
  alert: [['triage.key.acknowledge', ['a']], ['triage.key.resolve', ['r']], ['triage.key.suppress', ['s']], ['triage.key.help', ['?']]],
  incidents: [
    ['triage.key.move', ['j', 'k', '↓', '↑']], ['incidents.key.open', ['Enter']], ['incidents.key.acknowledge', ['a']], ['incidents.key.resolve', ['r']],
    ['triage.key.filter', ['/']], ['triage.key.help', ['?']],
  ],
  incident: [['incidents.key.acknowledge', ['a']], ['incidents.key.resolve', ['r']], ['incidents.key.suppress', ['s']], ['triage.key.help', ['?']]],
} as const

type Line = readonly [what: (typeof keys)[keyof typeof keys][number][0], keys: readonly string[]]

interface Props {
  of: keyof typeof keys
  onClose: () => void
  letters: boolean
  onLetters: (on: boolean) => void
}

export default function Keys({ of, onClose, letters, onLetters }: Props) {
  const { t } = useTranslation()
  return (
    <Modal opened onClose={onClose} title={t('triage.keysTitle')} closeButtonProps={{ 'aria-label': t('close') }}>
      <dl className={css.keys}>
        {(keys[of] as readonly Line[]).map(([deed, names]) => (
          <Fragment key={deed}>
            <dt>{names.map((name) => <kbd key={name} className={css.key}>{name}</kbd>)}</dt>
            <dd>{t(deed)}</dd>
          </Fragment>
        ))}
      </dl>
      <Switch checked={letters} onChange={(e) => onLetters(e.currentTarget.checked)} label={t('triage.letters')} description={t('triage.lettersHint')} />
    </Modal>
  )
}
