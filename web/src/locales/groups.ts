// The words of groups, of what machines are to run, and of the tokens that let them in. They come with the pages that use them.
import i18next from 'i18next'
import groups from './groups.en.json'

i18next.addResourceBundle('en', 'translation', groups, true, false)
