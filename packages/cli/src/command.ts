import { check, type MessagingError } from '@posthorn/core/adapter'
import type { Given } from './arguments.ts'
import type { Surroundings } from './surroundings.ts'

/** One option of a command, as `--help` shows it. */
export interface Option {
  readonly name: string
  /** What its value is called; without it the option is a switch. */
  readonly value?: string
  /** May be given several times. @default false */
  readonly many?: boolean
  readonly help: string
}

/** A command of one or two words. */
export interface Command {
  readonly name: string
  /** One line. */
  readonly summary: string
  /** What follows the name, in the order in which people write it. */
  readonly usage: string
  /** What should be known before using it. */
  readonly notes: readonly string[]
  readonly options: readonly Option[]
  /** Runs it and answers the exit code. @throws MessagingError */
  run(given: Given, io: Surroundings): Promise<number>
}

/** Exit codes: all done; something failed or was left; the command line or the configuration is wrong, and nothing was tried. */
export const exit = { done: 0, failed: 1, usage: 2 } as const

/** What every command has. */
export const commonOptions: readonly Option[] = [
  { name: 'broker', value: 'NAME', help: 'the broker of this name; otherwise the one that configuration chooses' },
  { name: 'config', value: 'FILE', help: 'this configuration file; otherwise the nearest posthorn.config.*' },
  { name: 'json', help: 'JSON instead of text: one document per line' },
  { name: 'help', help: 'show this' },
]

/** The refusal of a command line: exit code 2. */
export function misused(command: string, what: string): MessagingError {
  return check.invalid(`cannot run "posthorn ${command}"`, what)
}
