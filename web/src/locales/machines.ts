// The words of the list of machines and of adding one. They come with the pages that use them.
import i18next from 'i18next'
import machines from './machines.en.json'

i18next.addResourceBundle('en', 'translation', machines, true, false)
