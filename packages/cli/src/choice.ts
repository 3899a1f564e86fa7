// Which dead letters are meant. What changes them must be told so; nothing is chosen by leaving something out.

import type { DeadLetter } from '@posthorn/core'
import type { Given } from './arguments.ts'
import { misused, type Option } from './command.ts'
import { momentForms, parseMoment } from './moment.ts'

/** The options that say which by what they are; all that are given must fit. */
export const filterOptions: readonly Option[] = [
  { name: 'reason', value: 'REASON', many: true, help: 'set aside for this reason: failed, invalid, undecodable, … (one of several)' },
  { name: 'type', value: 'TYPE', many: true, help: 'messages of this type (one of several)' },
  { name: 'before', value: 'TIME', help: `last failed before: ${momentForms}` },
  { name: 'after', value: 'TIME', help: 'last failed then or later' },
]

/** All options that choose. */
export const choiceOptions: readonly Option[] = [
  { name: 'id', value: 'ID', many: true, help: 'the message with this id (one of several)' },
  ...filterOptions,
  { name: 'all', help: 'all there are' },
]

/** Chosen dead letters, and what is known of the choice once they were looked through. */
export interface Choice {
  /** For the tools' `where`: asked once for each entry. */
  picks(letter: DeadLetter): boolean
  /** How many entries were looked at so far. */
  readonly seen: number
  /** How many of them were picked. */
  readonly picked: number
  /** Of the ids that were asked for, those that no entry had so far. */
  missing(): readonly string[]
}

/**
 * What `replay` and `purge` are to act on.
 *
 * @throws MessagingError `INVALID_ARGUMENT` where nothing is chosen, or twice
 */
export function choiceOf(command: string, given: Given, now: number): Choice {
  const ids = given.texts('id')
  const filter = filterOf(command, given, now)
  const ways = [ids.length > 0 ? '--id' : '', filter === undefined ? '' : namesOf(given), given.has('all') ? '--all' : ''].filter(Boolean)
  const next = 'say which: --id ID, or --reason, --type, --before and --after together, or --all'
  if (ways.length === 0) throw misused(command, `nothing is chosen. ${next}`)
  if (ways.length > 1) throw misused(command, `${ways.join(' and ')} are given together. ${next}`)
  const absent = new Set(ids)
  let [seen, picked] = [0, 0]
  return {
    picks(letter) {
      seen++
      if (ids.length > 0 && !ids.includes(letter.id)) return false
      if (filter?.(letter) === false) return false
      absent.delete(letter.id)
      picked++
      return true
    },
    get seen() {
      return seen
    },
    get picked() {
      return picked
    },
    missing: () => [...absent],
  }
}

/** The filter that is given, if one is. @throws MessagingError `INVALID_ARGUMENT` */
export function filterOf(command: string, given: Given, now: number): ((letter: DeadLetter) => boolean) | undefined {
  const [reasons, types] = [given.texts('reason'), given.texts('type')]
  const [before, after] = [momentOf(command, given, 'before', now), momentOf(command, given, 'after', now)]
  if (reasons.length === 0 && types.length === 0 && before === undefined && after === undefined) return undefined
  return ({ reason, type, lastFailedAt }) =>
    (reasons.length === 0 || reasons.includes(reason)) &&
    (types.length === 0 || types.includes(type)) &&
    (before === undefined || lastFailedAt.getTime() < before) &&
    (after === undefined || lastFailedAt.getTime() >= after)
}

const namesOf = (given: Given): string =>
  filterOptions
    .filter(({ name }) => given.has(name))
    .map(({ name }) => `--${name}`)
    .join(', ')

function momentOf(command: string, given: Given, name: string, now: number): number | undefined {
  const text = given.text(name)
  if (text === undefined) return undefined
  const at = parseMoment(text, now)
  if (at === undefined) throw misused(command, `--${name} must be ${momentForms}, not "${text}"`)
  return at
}
