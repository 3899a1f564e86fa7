import { carryOut } from '../carry-out.ts'
import { choiceOf, choiceOptions } from '../choice.ts'
import { type Command, exit, misused } from '../command.ts'
import { atDeadLetters, placeOptions } from '../place.ts'

const name = 'dlq purge'

/** Removes dead letters for good. */
export const dlqPurge: Command = {
  name,
  summary: 'remove dead letters for good',
  usage: '--topic TOPIC --group GROUP (--id ID | --reason … --type … --before … --after … | --all [--yes])',
  notes: ['What is removed is gone. --all asks first; where nobody can answer it is refused without --yes.'],
  options: [...placeOptions, ...choiceOptions, { name: 'yes', help: 'do not ask' }],
  async run(given, io) {
    const choice = choiceOf(name, given, io.now())
    const asks = given.has('all') && !given.has('yes')
    if (asks && io.ask === undefined) throw misused(name, '--all removes everything, and nobody is here to confirm it. say --yes as well')
    return atDeadLetters(name, given, io, async ({ tools, adapter, title, mustHaveGroup }) => {
      if (asks && (await io.ask?.(`remove all of ${title} on ${adapter}, for good? [y/N] `))?.trim().toLowerCase() !== 'y') {
        io.stderr.write('nothing was removed\n')
        return exit.failed
      }
      return carryOut({
        io,
        json: given.has('json'),
        choice,
        title,
        past: 'purged',
        async act(onProgress) {
          const { purged } = await tools.purge({ where: choice.picks }, { signal: io.interrupted, onProgress })
          // Nothing is what a misspelt group has, too.
          if (choice.seen === 0) await mustHaveGroup()
          return { count: purged, result: { purged }, rest: '' }
        },
        partial: (purged) => ({ purged }),
      })
    })
  },
}
