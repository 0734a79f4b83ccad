// The words of incidents, judgements and suppressions. They come with the pages that use them.
import i18next from 'i18next'
import incident from './incident.en.json'

i18next.addResourceBundle('en', 'translation', incident, true, false)
