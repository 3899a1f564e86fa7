// The words behind a command, checked: a misspelt or forgotten one is refused with what was probably meant.

import { parseArgs } from 'node:util'
import { check } from '@posthorn/core/adapter'
import { type Command, commonOptions, misused, type Option } from './command.ts'

/** What was given. Names are those of the command's options. */
export interface Given {
  has(name: string): boolean
  /** The value of an option that may be given once. */
  text(name: string): string | undefined
  /** The same, of one that must be given. @throws MessagingError */
  needed(name: string): string
  /** All values of an option that may be given several times. */
  texts(name: string): readonly string[]
  /** A value from `min`, whole or not. @throws MessagingError */
  number(name: string, kind: { readonly min: number; readonly whole: boolean }): number | undefined
}

/**
 * Reads what follows the name of a command.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function readArguments(command: Pick<Command, 'name' | 'options'>, args: readonly string[]): Given {
  const known = new Map<string, Option>([...command.options, ...commonOptions].map((option) => [option.name, option]))
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries([...known.values()].map(({ name, value }) => [name, { type: value === undefined ? 'boolean' : 'string' }])),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const values = new Map<string, string[]>()
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') throw misused(command.name, `"${token.value}" belongs to no option${suggestion(known)}`)
    const option = known.get(token.name)
    if (option === undefined) throw misused(command.name, unknownOption(token.rawName, known))
    const before = values.get(option.name)
    if (before !== undefined && option.many !== true) throw misused(command.name, `--${option.name} is given twice`)
    values.set(option.name, [...(before ?? []), checkedValue(command.name, option, token.value, token.inlineValue === true)])
  }
  return given(command.name, values)
}

function checkedValue(command: string, option: Option, value: string | undefined, inline: boolean): string {
  const { name } = option
  if (option.value === undefined) {
    if (value !== undefined) throw misused(command, `--${name} is a switch and takes no value`)
    return ''
  }
  if (value === undefined || value === '') throw misused(command, `--${name} needs a value: --${name} ${option.value}`)
  if (!inline && value.startsWith('-') && value.length > 1)
    throw misused(command, `--${name} needs a value, and ${value} looks like an option. if it is the value, write --${name}=${value}`)
  return value
}

function given(command: string, values: ReadonlyMap<string, readonly string[]>): Given {
  const text = (name: string): string | undefined => values.get(name)?.[0]
  return {
    has: (name) => values.has(name),
    text,
    texts: (name) => values.get(name) ?? [],
    needed(name) {
      const value = text(name)
      if (value === undefined) throw misused(command, `--${name} is missing. \`posthorn ${command} --help\` shows what it takes`)
      return value
    },
    number(name, { min, whole }) {
      const value = text(name)
      if (value === undefined) return undefined
      const number = Number(value)
      if (/^\d+(?:\.\d+)?$/.test(value) && number >= min && (!whole || Number.isSafeInteger(number))) return number
      throw misused(command, `--${name} must be ${whole ? 'a whole number' : 'a number'} from ${min}, not "${value}"`)
    },
  }
}

function unknownOption(rawName: string, known: ReadonlyMap<string, Option>): string {
  const hint = check.nearest(rawName.replace(/^-+/, ''), known.keys())
  return `there is no option ${rawName}${hint === undefined ? `. known are ${listed(known)}` : `. did you mean --${hint}?`}`
}

const listed = (known: ReadonlyMap<string, Option>): string => [...known.keys()].map((name) => `--${name}`).join(', ')
const suggestion = (known: ReadonlyMap<string, Option>): string => `. known are ${listed(known)}`
