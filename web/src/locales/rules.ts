// The words of custom rules. They come with the pages that use them.
import i18next from 'i18next'
import rules from './rules.en.json'

i18next.addResourceBundle('en', 'translation', rules, true, false)
