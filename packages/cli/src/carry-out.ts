// What `replay` and `purge` have in common: progress, the result, and what is said when it is not all that was asked for.

import { isMessagingError } from '@posthorn/core'
import type { Choice } from './choice.ts'
import { exit } from './command.ts'
import { createProgress } from './progress.ts'
import type { Surroundings } from './surroundings.ts'
import { jsonLine } from './text.ts'

/** One operation on chosen dead letters. */
export interface Work {
  readonly io: Surroundings
  readonly json: boolean
  readonly choice: Choice
  /** `the dead letters of "orders.placed" for group "email"` */
  readonly title: string
  /** `replayed` */
  readonly past: string
  /** The most that may be chosen. @default all */
  readonly limit?: number | undefined
  act(onProgress: (count: number) => void): Promise<Done>
  /** The result for programs when it ended early, after so many. */
  partial(count: number): Readonly<Record<string, unknown>>
}

/** How it ended. */
export interface Done {
  readonly count: number
  /** For programs. */
  readonly result: Readonly<Record<string, unknown>>
  /** For people, after the count: `; 3 are left`. */
  readonly rest: string
}

/**
 * Carries it out and says what was done, also when it fails on the way.
 *
 * @throws MessagingError what it failed with, unless the person at the keyboard ended it
 */
export async function carryOut(work: Work): Promise<number> {
  const { io, json, title, past } = work
  const progress = createProgress(io, (count) => `${past} ${count} …`)
  let count = 0
  let done: Done
  try {
    done = await work.act((so) => {
      count = so
      progress.tell(so)
    })
  } catch (error) {
    progress.end()
    const interrupted = io.interrupted.aborted && isMessagingError(error, 'CANCELLED')
    if (count === 0 && !interrupted) throw error
    if (json) io.stdout.write(jsonLine(work.partial(count)))
    io.stderr.write(`${interrupted ? 'interrupted' : 'failed'}: ${past} ${count} of ${title}; the others are where they were\n`)
    if (interrupted) return exit.failed
    throw error
  }
  progress.end()
  io.stdout.write(json ? jsonLine(done.result) : `${past} ${done.count} of ${title}${done.rest}\n`)
  return shortfall(work, done) ? exit.failed : exit.done
}

/** Says what was asked for and not done; false where there is nothing to say. */
function shortfall({ io, choice, title, limit }: Work, { count }: Done): boolean {
  const stayed = choice.picked - count
  if (stayed > 0)
    io.stderr.write(
      `${stayed} of the chosen stay: their bodies were too large to copy. \`posthorn dlq show\` says where the messages lie\n`,
    )
  const missing = limit !== undefined && choice.picked >= limit ? [] : choice.missing()
  if (missing.length > 0) io.stderr.write(`not among ${title}: ${missing.map((id) => `"${id}"`).join(', ')}\n`)
  return stayed > 0 || missing.length > 0
}
