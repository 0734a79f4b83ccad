// How much of a capture could be read.
import { useTranslation } from 'react-i18next'
import type { Capture } from '../../api/types'
import { count, percent } from '../../lib/format'
import '../../locales/traffic'
import { Meter } from '../../ui/marks'
import { Fact, Facts, Panel } from '../../ui/Page'
import css from '../captures.module.css'

export function Quality({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  const understood = c.packets > 0 ? (c.packets - c.undecoded) / c.packets : 0
  return (
    <Panel title={t('traffic.quality.title')} hint={t('traffic.quality.hint')}>
      <div className={css.quality}>
        {c.packets > 0 && (
          <div>
            <span className={css.share}>{percent(understood)} <span className="dim">{t('traffic.quality.read')}</span></span>
            <Meter value={c.packets - c.undecoded} of={c.packets} label={t('traffic.quality.read')} />
          </div>
        )}
        <Facts>
          <Fact name={t('traffic.quality.packets')}>{count(c.packets)}</Fact>
          <Fact name={t('traffic.quality.undecoded')}>{count(c.undecoded)}</Fact>
        </Facts>
      </div>
    </Panel>
  )
}
