import { useTranslation } from 'react-i18next'
import type { Plugin, PluginInstance } from '../../api/types'
import '../../locales/plugins'
import { StateMark } from '../../ui/marks'

/** Whether nobody vouches for this plugin: its author tries it on the server. */
export const isUnsigned = (p: Pick<Plugin, 'trust'>): boolean => p.trust === 'unsigned'

/** Other machines run the signed release meanwhile. */
export const runsUnsigned = (p: Pick<Plugin, 'trust'>, i: Pick<PluginInstance, 'node'>): boolean => isUnsigned(p) && i.node.type === 'server'

/** Whoever may sign for this server can run anything here: say so where the keys are not those of a release. */
export function TrustMark({ plugin: p }: { plugin: Plugin }) {
  return isUnsigned(p) ? <UnsignedMark /> : p.trust === 'development' ? <DevelopmentMark /> : null
}

export function UnsignedMark() {
  const { t } = useTranslation()
  return <StateMark tone="bad">{t('plugin.unsigned')}</StateMark>
}

function DevelopmentMark() {
  const { t } = useTranslation()
  return <StateMark tone="warn">{t('plugin.development')}</StateMark>
}
