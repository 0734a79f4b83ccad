// The words of exploring, of the server's own health, its settings and the first steps. They come with the pages that use them.
import i18next from 'i18next'
import operate from './operate.en.json'

i18next.addResourceBundle('en', 'translation', operate, true, false)
