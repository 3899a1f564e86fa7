// From words to a command, and from whatever it ends with to an exit code.

import { readFileSync } from 'node:fs'
import { isMessagingError } from '@posthorn/core'
import { check, secrets } from '@posthorn/core/adapter'
import { readArguments } from './arguments.ts'
import { type Command, exit } from './command.ts'
import { dlqList } from './commands/dlq-list.ts'
import { dlqPurge } from './commands/dlq-purge.ts'
import { dlqReplay } from './commands/dlq-replay.ts'
import { dlqShow } from './commands/dlq-show.ts'
import { helpFor, overview } from './help.ts'
import type { Surroundings } from './surroundings.ts'
import { lines } from './text.ts'

/** Every command, in the order in which help shows them. */
export const commands: readonly Command[] = [dlqList, dlqShow, dlqReplay, dlqPurge]

/**
 * Runs a command line, without the program's name, and resolves to its exit code: 0 all done, 1 something failed or was left, 2 the
 * command line or the configuration is wrong. Never rejects: what goes wrong is a line on stderr with code, cause and next step.
 *
 * @example
 * import { processSurroundings, run } from 'posthorn'
 *
 * const code = await run(['dlq', 'list', '--topic', 'orders.placed', '--group', 'email'], processSurroundings(new AbortController().signal))
 */
export async function run(args: readonly string[], io: Surroundings): Promise<number> {
  try {
    return await dispatch(args, io)
  } catch (error) {
    const known = isMessagingError(error)
    const text = known ? error.message : secrets.redact(error instanceof Error ? error.message : String(error))
    io.stderr.write(`${known ? error.code : 'INTERNAL'}  ${lines(text)}\n`)
    return known && error.code === 'INVALID_ARGUMENT' ? exit.usage : exit.failed
  }
}

async function dispatch(args: readonly string[], io: Surroundings): Promise<number> {
  const firstOption = args.findIndex((arg) => arg.startsWith('-'))
  const words = firstOption < 0 ? args : args.slice(0, firstOption)
  const rest = args.slice(words.length)
  const command = commands.find(({ name }) => words.slice(0, 2).join(' ') === name)
  if (command !== undefined) {
    const options = [...words.slice(2), ...rest]
    if (options.some((option) => option === '--help' || option === '-h')) return said(io, helpFor(command))
    return command.run(readArguments(command, options), io)
  }
  if (words.length === 0 && rest[0] === '--version') return said(io, `${version()}\n`)
  const group = commands.filter(({ name }) => name.startsWith(`${words[0] ?? ''} `))
  if (words.length < 2 && (words.length === 0 || group.length > 0)) {
    const text = overview(words.length === 0 ? commands : group)
    if (rest.length > 0 && rest.every((option) => option === '--help' || option === '-h')) return said(io, text)
    if (rest.length > 0) throw check.invalid('cannot run "posthorn"', misplaced(rest[0] ?? ''))
    io.stderr.write(text)
    return exit.usage
  }
  throw check.invalid('cannot run "posthorn"', unknownCommand(words))
}

function said(io: Surroundings, text: string): number {
  io.stdout.write(text)
  return exit.done
}

function misplaced(option: string): string {
  const hint = check.nearest(option, ['--help', '--version'])
  return `${option} stands before a command, which comes first: posthorn dlq list${hint === undefined ? '' : `. did you mean ${hint}?`}`
}

function unknownCommand(words: readonly string[]): string {
  const names = commands.map(({ name }) => name)
  const meant = words.slice(0, 2).join(' ')
  // "list" alone, or "dqls list": the word that is right helps to find the other one.
  const hint = check.nearest(meant, names) ?? names.find((name) => name.split(' ')[1] === words[0])
  return `there is no command "${meant}"${hint === undefined ? `. known are ${names.join(', ')}` : `. did you mean "posthorn ${hint}"?`}`
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string }
  return manifest.version
}
