// The words of the marketplace and the fleet. They come with the pages that use them: the first page need not carry them.
import i18next from 'i18next'
import market from './market.en.json'

i18next.addResourceBundle('en', 'translation', market, true, false)
