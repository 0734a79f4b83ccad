// The words of commands to machines. They come with the pages that use them.
import i18next from 'i18next'
import commands from './commands.en.json'

i18next.addResourceBundle('en', 'translation', commands, true, false)
