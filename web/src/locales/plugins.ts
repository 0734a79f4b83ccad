// The words of plugins, their settings, rights and limits. They come with the pages that use them.
import i18next from 'i18next'
import plugins from './plugins.en.json'

i18next.addResourceBundle('en', 'translation', plugins, true, false)
