import { currentFolder } from './application.ts'
import { checkOptions, invalid, object, show, text, unknownKey } from './check.ts'
import { type ConfigFile, findConfigFile, readConfigFile } from './config-file.ts'
import { nearest } from './nearest.ts'
import { checkTarget, rememberSecretsIn, type Target } from './target.ts'

/** What a `posthorn.config` file exports: brokers by name, and which one is meant where no name is given. */
export interface Config {
  /** @default the only one of `brokers` */
  readonly default?: string | undefined
  /** What `connect` takes, under names of a-z, 0-9 and inner dashes. */
  readonly brokers: Readonly<Record<string, Target>>
}

/** Where `loadConfig` looks. */
export interface LoadOptions {
  /** Where the search for the file starts; it goes upwards from there. @default the folder the process runs in */
  readonly cwd?: string | undefined
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

const brokerName = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const prefix = 'POSTHORN_'

/**
 * Types and checks a configuration; returns it unchanged.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the key
 * @example
 * import { defineConfig } from '@posthorn/core/config'
 *
 * const config = defineConfig({ brokers: { main: 'redis://localhost', audit: { url: 'kafka://a,b' } } })
 * // the last line of the file: export default config
 */
export function defineConfig(config: Config): Config {
  rememberSecretsIn(config)
  checkConfig(config, 'the configuration')
  return config
}

/**
 * Finds out which broker to connect to, from configuration only: `connect(await loadConfig())`.
 *
 * Looks for `posthorn.config.js`, `.mjs`, `.json` or `.ts` (where the runtime reads it) from `cwd` upwards, then at the environment, which wins:
 * `POSTHORN_BROKER` is the name of a broker, or a URL that is used where no `name` is asked for; `POSTHORN_<NAME>_URL` replaces the URL of that
 * broker (upper case, dashes become underscores) and keeps the options beside it, or is the whole broker where the file does not name it.
 * Nothing is chosen silently: where nothing is configured it rejects.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the file or the variable, the key, and the nearest known one; it never shows a credential
 */
export async function loadConfig(name?: string, options?: LoadOptions): Promise<Target> {
  const attempted = 'cannot load the configuration'
  const given = checkOptions<LoadOptions>(attempted, options, { cwd: text, env: object })
  if (name !== undefined && (typeof name !== 'string' || !brokerName.test(name)))
    throw invalid(attempted, `a broker's name is a token of a-z, 0-9 and inner dashes, not ${show(name)}`)
  const env = given.env ?? process.env
  const cwd = given.cwd ?? currentFolder()
  const file = await findConfigFile(cwd)
  const config = file === undefined ? undefined : await load(file)
  const names = config === undefined ? [] : Object.keys(config.brokers)
  checkVariables(env, names)

  if (name === undefined) {
    const chosen = variable(env, `${prefix}BROKER`)
    if (chosen?.includes(':')) return fromVariable(`${prefix}BROKER`, chosen, undefined)
    if (chosen !== undefined && !brokerName.test(chosen))
      throw invalid(`cannot use ${prefix}BROKER`, `it is the name of a broker, or a URL, not ${show(chosen)}`)
    return pick(
      chosen ?? config?.default ?? (names.length === 1 ? names[0] : undefined),
      chosen === undefined ? undefined : `${prefix}BROKER`,
    )
  }
  return pick(name, undefined)

  function pick(wanted: string | undefined, by: string | undefined): Target {
    if (wanted === undefined) throw nothingChosen(cwd, file, names)
    const target = config !== undefined && Object.hasOwn(config.brokers, wanted) ? config.brokers[wanted] : undefined
    const key = variableOf(wanted)
    const url = variable(env, key)
    if (url !== undefined) return fromVariable(key, url, target)
    if (target !== undefined) return target
    const hint = nearest(wanted, names)
    const where = file === undefined ? `there is no posthorn.config file in ${cwd} or above` : `${file.path} does not name it`
    throw invalid(
      by === undefined ? `cannot find the broker "${wanted}"` : `cannot find the broker "${wanted}" (${by})`,
      `${where}, and ${key} is not set.${hint === undefined ? '' : ` did you mean "${hint}"?`}`,
    )
  }
}

async function load(file: ConfigFile): Promise<Config> {
  const config = await readConfigFile(file)
  rememberSecretsIn(config)
  checkConfig(config, file.path)
  return config as Config
}

function checkConfig(config: unknown, where: string): void {
  const attempted = `cannot use ${where}`
  if (object(config) !== undefined) throw invalid(attempted, `it must give an object { default, brokers }, not ${show(config)}`)
  for (const key of Object.keys(config as object))
    if (key !== 'default' && key !== 'brokers') throw invalid(attempted, unknownKey(key, ['default', 'brokers']).replace('option ', 'key '))
  const { default: chosen, brokers } = config as { default?: unknown; brokers?: unknown }
  if (object(brokers) !== undefined) throw invalid(attempted, `"brokers" must be an object of targets by name, not ${show(brokers)}`)
  const names = Object.keys(brokers as object)
  if (names.length === 0) throw invalid(attempted, '"brokers" is empty')
  for (const [name, target] of Object.entries(brokers as object)) {
    if (!brokerName.test(name)) throw invalid(attempted, `"brokers.${name}" is not a name of a-z, 0-9 and inner dashes`)
    checkTarget(target, `${attempted}: "brokers.${name}"`)
  }
  if (chosen === undefined) return
  if (typeof chosen !== 'string') throw invalid(attempted, `"default" must be the name of a broker, not ${show(chosen)}`)
  if (names.includes(chosen)) return
  const hint = nearest(chosen, names)
  throw invalid(
    attempted,
    `"default" names the broker "${chosen}", which "brokers" does not have. ${hint === undefined ? `it has ${names.join(', ')}` : `did you mean "${hint}"?`}`,
  )
}

function variableOf(name: string): string {
  return `${prefix}${name.toUpperCase().replaceAll('-', '_')}_URL`
}

function variable(env: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = env[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value.trim() === '')
    throw invalid(
      `cannot use ${name}`,
      typeof value === 'string' ? 'it is set but empty. unset it, or give it a value' : `it must be a text, not ${show(value)}`,
    )
  return value
}

function fromVariable(name: string, url: string, target: Target | undefined): Target {
  rememberSecretsIn(url)
  checkTarget(url, `cannot use ${name}`)
  // An adapter object of the file has no URL to replace; a URL with options keeps the options.
  return typeof target === 'object' && 'url' in target ? { ...target, url } : url
}

// Variables of this prefix that are close to one we read are misspelt; others are somebody else's.
function checkVariables(env: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  const known = [`${prefix}BROKER`, ...names.map(variableOf)]
  for (const key of Object.keys(env)) {
    if (!key.startsWith(prefix) || known.includes(key)) continue
    const rest = key.slice(prefix.length)
    if (/^[A-Z0-9]+(?:_[A-Z0-9]+)*_URL$/.test(rest)) continue
    const hint = nearest(
      rest,
      known.map((each) => each.slice(prefix.length)),
    )
    if (hint !== undefined) throw invalid(`cannot use ${key}`, `there is no such variable. did you mean "${prefix}${hint}"?`)
  }
}

function nothingChosen(cwd: string, file: ConfigFile | undefined, names: readonly string[]): Error {
  if (file === undefined) {
    return invalid(
      'cannot load the configuration',
      `there is no posthorn.config.{js,mjs,json,ts} in ${cwd} or above, and ${prefix}BROKER is not set. set it to a URL, as in ${prefix}BROKER=redis://localhost`,
    )
  }
  return invalid(
    `cannot use ${file.path}`,
    `it names several brokers (${names.join(', ')}) and no "default". add one, set ${prefix}BROKER, or say which: loadConfig('${names[0]}')`,
  )
}
