// The words of the inbox and of deliveries. They come with the pages that use them.
import i18next from 'i18next'
import inbox from './inbox.en.json'

i18next.addResourceBundle('en', 'translation', inbox, true, false)
