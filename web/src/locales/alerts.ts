// The words of alerts, the triage list and the technique matrix. They come with the pages that use them.
import i18next from 'i18next'
import alerts from './alerts.en.json'

i18next.addResourceBundle('en', 'translation', alerts, true, false)
