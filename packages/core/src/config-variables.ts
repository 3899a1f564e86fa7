// What the environment says: which broker, and of each broker where it is and how to log in.

import { invalid, show } from './check.ts'
import { fromFile } from './config-secrets.ts'
import { nearest } from './nearest.ts'

/** The environment, as `process.env` is. */
export type Env = Readonly<Record<string, unknown>>

const prefix = 'POSTHORN_'
/** The variable that chooses the broker. */
export const chooser: string = `${prefix}BROKER`

/** What a broker's variables may say; each also with `_FILE` behind it, which names the file where it stands. */
export type Setting = 'URL' | 'USERNAME' | 'PASSWORD'
const settings: readonly Setting[] = ['URL', 'USERNAME', 'PASSWORD']
const ofSomeBroker = /^[A-Z0-9]+(?:_[A-Z0-9]+)*_(?:URL|USERNAME|PASSWORD)(?:_FILE)?$/
/** Read by the tools of this project, which may stand beside an application. */
const ofOthers = [`${prefix}BROKERS`]

/** `POSTHORN_EU_WEST_URL` for the broker `eu-west`. */
export function variableOf(broker: string, setting: Setting): string {
  return `${prefix}${broker.toUpperCase().replaceAll('-', '_')}_${setting}`
}

/** A variable's text; undefined where it is not set. @throws MessagingError `INVALID_ARGUMENT` where it is empty */
export function variable(env: Env, name: string): string | undefined {
  const value = env[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value.trim() === '')
    throw invalid(
      `cannot use ${name}`,
      typeof value === 'string' ? 'it is set but empty. unset it, or give it a value' : `it must be a text, not ${show(value)}`,
    )
  return value
}

/** What the environment says about a broker, with the variable that said it: the setting's own, or the one that names its file. */
export async function settingOf(
  env: Env,
  broker: string,
  setting: Setting,
  folder: string,
): Promise<{ readonly by: string; readonly text: string } | undefined> {
  const name = variableOf(broker, setting)
  const file = `${name}_FILE`
  const [text, path] = [variable(env, name), variable(env, file)]
  if (text !== undefined && path !== undefined) throw invalid(`cannot use ${name}`, `${file} is set, too. unset one of them`)
  if (path !== undefined) return { by: file, text: await fromFile(path, `cannot use ${file}`, folder) }
  return text === undefined ? undefined : { by: name, text }
}

/** The brokers that the environment gives a URL, as they would be named. */
export function namedIn(env: Env): string[] {
  return Object.keys(env).flatMap((key) => {
    const name = /^POSTHORN_([A-Z0-9_]+)_URL(?:_FILE)?$/.exec(key)?.[1]
    return name === undefined ? [] : [name.toLowerCase().replaceAll('_', '-')]
  })
}

/**
 * Variables of this prefix that are close to one we read are misspelt; others are somebody else's.
 *
 * @throws MessagingError `INVALID_ARGUMENT` with the nearest known one
 */
export function checkVariables(env: Env, brokers: readonly string[]): void {
  const ours = brokers.flatMap((broker) => settings.map((setting) => variableOf(broker, setting)))
  const known = [chooser, ...ours, ...ours.map((name) => `${name}_FILE`)]
  for (const key of Object.keys(env)) {
    if (!key.startsWith(prefix) || known.includes(key) || ofOthers.includes(key)) continue
    const rest = key.slice(prefix.length)
    if (ofSomeBroker.test(rest)) continue
    const hint = nearest(
      rest,
      known.map((each) => each.slice(prefix.length)),
    )
    if (hint !== undefined) throw invalid(`cannot use ${key}`, `there is no such variable. did you mean "${prefix}${hint}"?`)
  }
}
