import type { DeadLetter } from '@posthorn/core'
import { filterOf, filterOptions } from '../choice.ts'
import { type Command, exit } from '../command.ts'
import { letterJson, letterTable } from '../letter.ts'
import { atDeadLetters, placeOptions } from '../place.ts'
import { counted } from '../progress.ts'
import { jsonLine } from '../text.ts'

const name = 'dlq list'
/** So many are looked at before the first is shown: they decide how wide the columns are. */
const rowsAtOnce = 100

/** Shows a group's dead letters, oldest first. */
export const dlqList: Command = {
  name,
  summary: "show a group's dead letters, oldest first",
  usage: '--topic TOPIC --group GROUP [--reason REASON] [--type TYPE] [--before TIME] [--after TIME] [--limit N]',
  notes: ['It removes nothing. With --json each line is one dead letter, whole: the same as of `dlq show`.'],
  options: [...placeOptions, ...filterOptions, { name: 'limit', value: 'N', help: 'at most so many' }],
  async run(given, io) {
    const filter = filterOf(name, given, io.now())
    const limit = given.number('limit', { min: 0, whole: true })
    return atDeadLetters(name, given, io, async ({ tools, title, mustHaveGroup }) => {
      const table = letterTable(io.stdout.columns)
      const waiting: DeadLetter[] = []
      let [seen, count] = [0, 0]
      const where = (letter: DeadLetter): boolean => {
        seen++
        return filter === undefined || filter(letter)
      }
      const show = async (): Promise<void> => {
        if (waiting.length > 0) await io.stdout.write(table(waiting.splice(0)))
      }
      try {
        for await (const letter of tools.list({ where, limit, signal: io.interrupted })) {
          count++
          if (given.has('json')) await io.stdout.write(jsonLine(letterJson(letter)))
          else if (waiting.push(letter) >= rowsAtOnce) await show()
        }
      } finally {
        await show()
      }
      // Nothing is what a misspelt group has, too.
      if (seen === 0 && limit !== 0) await mustHaveGroup()
      if (!given.has('json')) io.stderr.write(count === 0 ? `none among ${title}\n` : `${counted(count)}\n`)
      return exit.done
    })
  },
}
