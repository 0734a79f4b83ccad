// Where rules run, in words.
import type { RuleBook } from '../../api/rules'
import type { Translate } from '../../ui/states'

export function placeName(t: Translate, node: string, book?: RuleBook): string {
  if (node === 'server' || node === 'agents') return t(`rules.places.${node}`)
  if (node.startsWith('group:')) return t('rules.places.group', { name: node.slice('group:'.length) })
  return t('rules.places.agent', { name: book?.runs.find((r) => r.node.id === node)?.node.name ?? node })
}
