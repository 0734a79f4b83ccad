// The words of captures and flows. They come with the pages that use them.
import i18next from 'i18next'
import traffic from './traffic.en.json'

i18next.addResourceBundle('en', 'translation', traffic, true, false)
