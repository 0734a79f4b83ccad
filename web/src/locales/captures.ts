// The words of captures. They come with the pages that use them.
import i18next from 'i18next'
import captures from './captures.en.json'

i18next.addResourceBundle('en', 'translation', captures, true, false)
