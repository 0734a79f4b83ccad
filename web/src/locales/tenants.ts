// The words of tenants. They come with the pages that use them.
import i18next from 'i18next'
import tenants from './tenants.en.json'

i18next.addResourceBundle('en', 'translation', tenants, true, false)
