// Everything that must be one step at the server, by name.

import { createHash } from 'node:crypto'
import { again, due, forward, read, release, settle, settleRetry, step } from './scripts-own.ts'
import { browse, cast, castRead, declare, inspect, promote, publish, remove, store, trim } from './scripts-store.ts'

/** One script as it is sent: by its hash, and by its text once where the server has forgotten it. */
export interface Script {
  readonly name: string
  readonly sha: string
  readonly source: string
}

/**
 * The source of every script by its name, which says what it is for: `join`, `step` and `leave` are one text under three
 * names, so that whoever reads the wire can tell them apart by their hashes.
 */
export const sources: Readonly<Record<ScriptName, string>> = Object.freeze({
  publish,
  store,
  declare,
  join: `-- join\n${step}`,
  step: `-- step\n${step}`,
  leave: `-- leave\n${step}`,
  read,
  again,
  due,
  settle,
  settleRetry,
  forward,
  release,
  promote,
  trim,
  cast,
  castRead,
  browse,
  remove,
  inspect,
})
/** The names of the scripts. */
export type ScriptName =
  | 'publish'
  | 'store'
  | 'declare'
  | 'join'
  | 'step'
  | 'leave'
  | 'read'
  | 'again'
  | 'due'
  | 'settle'
  | 'settleRetry'
  | 'forward'
  | 'release'
  | 'promote'
  | 'trim'
  | 'cast'
  | 'castRead'
  | 'browse'
  | 'remove'
  | 'inspect'

function made(name: string, source: string): Script {
  return Object.freeze({ name, source, sha: createHash('sha1').update(source).digest('hex') })
}

/** Every script, ready to be run. */
export const scripts: Readonly<Record<ScriptName, Script>> = Object.freeze(
  Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, made(name, source)])) as Record<ScriptName, Script>,
)
