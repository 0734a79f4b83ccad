// The words of rules over metrics. They come with the pages that use them.
import i18next from 'i18next'
import metricrules from './metricrules.en.json'

i18next.addResourceBundle('en', 'translation', metricrules, true, false)
