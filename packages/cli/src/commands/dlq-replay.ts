import { carryOut } from '../carry-out.ts'
import { choiceOf, choiceOptions } from '../choice.ts'
import type { Command } from '../command.ts'
import { atDeadLetters, placeOptions } from '../place.ts'

const name = 'dlq replay'

/** Hands dead letters to their group again. */
export const dlqReplay: Command = {
  name,
  summary: 'hand dead letters to their group again, and to no other',
  usage: '--topic TOPIC --group GROUP (--id ID | --reason … --type … --before … --after … | --all) [--limit N] [--rate N]',
  notes: [
    'Each message keeps its id and begins at attempt 1; its entry is removed once the server has confirmed the copy. One that fails',
    'again is set aside again. Ctrl-C ends it after what is on its way and says how many were moved; the others stay where they are.',
  ],
  options: [
    ...placeOptions,
    ...choiceOptions,
    { name: 'limit', value: 'N', help: 'at most so many' },
    { name: 'rate', value: 'N', help: 'so many messages per second' },
  ],
  async run(given, io) {
    const choice = choiceOf(name, given, io.now())
    const limit = given.number('limit', { min: 0, whole: true })
    const ratePerSecond = given.number('rate', { min: 0.001, whole: false })
    return atDeadLetters(name, given, io, async ({ tools, title, mustHaveGroup }) => {
      // Copies for a group that nobody is in would wait for ever.
      await mustHaveGroup()
      return carryOut({
        io,
        json: given.has('json'),
        choice,
        title,
        past: 'replayed',
        limit,
        async act(onProgress) {
          const options = { limit, ratePerSecond, signal: io.interrupted, onProgress }
          const { replayed, left } = await tools.replay({ where: choice.picks }, options)
          return { count: replayed, result: { replayed, left }, rest: `; ${left} ${left === 1 ? 'is' : 'are'} left` }
        },
        partial: (replayed) => ({ replayed, left: null }),
      })
    })
  },
}
