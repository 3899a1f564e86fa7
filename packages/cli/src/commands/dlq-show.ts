import { MessagingError } from '@posthorn/core/adapter'
import { type Command, exit, misused } from '../command.ts'
import { letterJson, letterText } from '../letter.ts'
import { atDeadLetters, placeOptions } from '../place.ts'
import { jsonLine } from '../text.ts'

const name = 'dlq show'

/** Shows everything about single dead letters. */
export const dlqShow: Command = {
  name,
  summary: 'show everything about a dead letter: error, headers, body',
  usage: '--topic TOPIC --group GROUP --id ID',
  notes: ['It removes nothing. Two sources may have given one id: then there are two entries, and both are shown.'],
  options: [...placeOptions, { name: 'id', value: 'ID', many: true, help: 'the message with this id (one of several)' }],
  async run(given, io) {
    const ids = given.texts('id')
    if (ids.length === 0) throw misused(name, '--id is missing. say which: --id ID; `posthorn dlq list` shows the ids')
    return atDeadLetters(name, given, io, async ({ tools, title, mustHaveGroup }) => {
      const missing = new Set(ids)
      let [seen, count] = [0, 0]
      const where = ({ id }: { readonly id: string }): boolean => {
        seen++
        return ids.includes(id)
      }
      for await (const letter of tools.list({ where, signal: io.interrupted })) {
        missing.delete(letter.id)
        const text = given.has('json') ? jsonLine(letterJson(letter)) : `${count > 0 ? '\n' : ''}${letterText(letter)}`
        count++
        await io.stdout.write(text)
      }
      if (missing.size === 0) return exit.done
      if (seen === 0) await mustHaveGroup()
      throw new MessagingError('NOT_FOUND', `cannot show ${[...missing].map((id) => `"${id}"`).join(', ')}: not among ${title}`)
    })
  },
}
