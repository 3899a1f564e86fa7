import { dirname, resolve } from 'node:path'
import { currentFolder } from './application.ts'
import { checkOptions, invalid, object, show, text, unknownKey } from './check.ts'
import { type ConfigFile, configFileAt, findConfigFile, readConfigFile, standsIn } from './config-file.ts'
import { type ConfigTarget, isElsewhere, lookUp, writtenSecret } from './config-secrets.ts'
import { checkVariables, chooser, namedIn, settingOf, variable, variableOf } from './config-variables.ts'
import { isMessagingError } from './errors.ts'
import { adapterNames, loadAdapter, schemeOf } from './load-adapter.ts'
import { nearest } from './nearest.ts'
import { checkTarget, rememberSecretsIn, type Target } from './target.ts'

/** What a `posthorn.config` file exports: brokers by name, and which one is meant where no name is given. */
export interface Config {
  /** @default the only one of `brokers` */
  readonly default?: string | undefined
  /** What `connect` takes, under names of a-z, 0-9 and inner dashes. Secrets stand elsewhere: `{ env: 'NAME' }` or `{ file: 'PATH' }` in place of any text. */
  readonly brokers: Readonly<Record<string, ConfigTarget>>
}

/** Where `loadConfig` looks. */
export interface LoadOptions {
  /** Where the search for the file starts; it goes upwards from there. @default the folder the process runs in */
  readonly cwd?: string | undefined
  /** This file instead of one that is searched; its name is free, its ending says what it is. A relative path starts at `cwd`. */
  readonly file?: string | undefined
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

const brokerName = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/

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
 * Looks for `posthorn.config.js`, `.mjs`, `.json` or `.ts` (where the runtime reads it) from `cwd` upwards, or takes `file`; then at the environment, which wins:
 * `POSTHORN_BROKER` is the name of a broker, or a URL that is used where no `name` is asked for; `POSTHORN_<NAME>_URL`, `_USERNAME` and `_PASSWORD`
 * (upper case, dashes become underscores) replace what the file says of that broker and keep the options beside it, or are the whole broker where the
 * file does not name it. Each of the three with `_FILE` behind it names a file that holds it. `memory` is the embedded broker, where nothing else says
 * what it is. Nothing is chosen silently: where nothing is configured it rejects. A secret that is written in the file is refused.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the file or the variable, the key, and the nearest known one; it never shows a credential
 */
export async function loadConfig(name?: string, options?: LoadOptions): Promise<Target> {
  const attempted = 'cannot load the configuration'
  const given = checkOptions<LoadOptions>(attempted, options, { cwd: text, file: text, env: object })
  if (name !== undefined && (typeof name !== 'string' || !brokerName.test(name)))
    throw invalid(attempted, `a broker's name is a token of a-z, 0-9 and inner dashes, not ${show(name)}`)
  const env = given.env ?? process.env
  const cwd = given.cwd ?? currentFolder()
  const file = given.file === undefined ? await findConfigFile(cwd) : configFileAt(resolve(cwd, given.file))
  const config = file === undefined ? undefined : await load(file)
  const names = config === undefined ? [] : Object.keys(config.brokers)
  checkVariables(env, names)

  const chosen = name === undefined ? variable(env, chooser) : undefined
  if (chosen?.includes(':')) return checked(chosen, `cannot use ${chooser}`)
  if (chosen !== undefined && !brokerName.test(chosen))
    throw invalid(`cannot use ${chooser}`, `it is the name of a broker, or a URL, not ${show(chosen)}`)
  const wanted = name ?? chosen ?? config?.default ?? (names.length === 1 ? names[0] : undefined)
  if (wanted === undefined) throw nothingChosen(cwd, file, names)

  const where = `cannot use ${file?.path}: "brokers.${wanted}"`
  const around = { env, folder: file === undefined ? cwd : dirname(file.path) }
  const fromConfig = config !== undefined && Object.hasOwn(config.brokers, wanted) ? config.brokers[wanted] : undefined
  const url = await settingOf(env, wanted, 'URL', cwd)
  // Where a variable replaces the URL, that of the file may be one that cannot even be looked up here.
  const base =
    fromConfig === undefined ? undefined : await lookUp(url === undefined ? fromConfig : withUrl(fromConfig, url.text), where, around)
  const target = (base ?? url?.text ?? (wanted === 'memory' ? 'memory:' : undefined)) as Target | undefined
  if (target === undefined) throw notFound(wanted, chosen === undefined ? undefined : chooser, { cwd, file, names, env })
  const beside = file === undefined || fromConfig === undefined ? '' : ` with "brokers.${wanted}" of ${file.path}`
  return loggingIn(await checked(target, url === undefined ? where : `cannot use ${url.by}${beside}`), wanted, env, cwd)
}

async function load(file: ConfigFile): Promise<Config> {
  const config = await readConfigFile(file)
  rememberSecretsIn(config)
  checkConfig(config, file.path)
  for (const [name, target] of Object.entries((config as Config).brokers)) {
    const found = writtenSecret(target, `brokers.${name}`)
    if (found !== undefined && (await standsIn(file, found.secret))) {
      const variables = `${variableOf(name, 'PASSWORD')} or ${variableOf(name, 'PASSWORD')}_FILE`
      throw invalid(
        `cannot use ${file.path}`,
        `"${found.path}" holds a secret, and a configuration file holds none. leave it out and set ${variables}, or say where it stands: { env: 'NAME' } or { file: 'PATH' }`,
      )
    }
  }
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
    // A URL that stands elsewhere is looked at when this broker is chosen; its neighbours are looked at now.
    checkTarget(isElsewhere(target?.url) ? { ...target, url: 'memory:' } : target, `${attempted}: "brokers.${name}"`)
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

/** The target with another URL, and the options beside it. Who that URL logs in wins, too. An adapter object has no URL to replace. */
function withUrl(target: ConfigTarget, url: string): ConfigTarget {
  if (typeof target !== 'object' || !('url' in target)) return url
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i.test(url)) return { ...target, url }
  const { adapter } = schemeOf(url, 'cannot use the URL of the environment')
  const options = (target as unknown as Readonly<Record<string, object | undefined>>)[adapter]
  return {
    ...target,
    url,
    ...(options === undefined ? {} : { [adapter]: { ...options, username: undefined, password: undefined } }),
  } as ConfigTarget
}

/** The target, refused here and now for what its adapter would refuse later, where that adapter is installed. */
async function checked(target: Target, attempted: string): Promise<Target> {
  rememberSecretsIn(target)
  const { url, ...wanted } = checkTarget(target, attempted)
  if (url === undefined || !('options' in wanted) || schemeOf(url, attempted).package === null) return target
  try {
    await loadAdapter(url, wanted.options)
  } catch (error) {
    // An adapter that is not here, or does not load, is for `connect` to say: it knows what to install.
    if (isMessagingError(error, 'INVALID_ARGUMENT')) throw invalid(attempted, error.message)
  }
  return target
}

/** The target with the user and the password that the environment gives this broker. */
async function loggingIn(target: Target, broker: string, env: Readonly<Record<string, unknown>>, cwd: string): Promise<Target> {
  const username = await settingOf(env, broker, 'USERNAME', cwd)
  const password = await settingOf(env, broker, 'PASSWORD', cwd)
  if (username === undefined && password === undefined) return target
  rememberSecretsIn({ password: password?.text })
  const by = password?.by ?? username?.by
  if (typeof target !== 'string' && !('url' in target))
    throw invalid(`cannot use ${by}`, `the broker "${broker}" is an adapter object, which logs in by itself`)
  const url = typeof target === 'string' ? target : target.url
  const { adapter } = schemeOf(url, `cannot use ${by}`)
  // The embedded broker asks nobody who they are.
  if (adapter === 'memory') return target
  const beside = (typeof target === 'string' ? {} : target) as Readonly<Record<string, object | undefined>>
  const options = { ...beside[adapter], ...(username && { username: username.text }), ...(password && { password: password.text }) }
  return { ...beside, url, [adapter]: options }
}

interface Searched {
  readonly cwd: string
  readonly file: ConfigFile | undefined
  readonly names: readonly string[]
  readonly env: Readonly<Record<string, unknown>>
}

function notFound(wanted: string, by: string | undefined, { cwd, file, names, env }: Searched): Error {
  const where = file === undefined ? `there is no posthorn.config file in ${cwd} or above` : `${file.path} does not name it`
  const hint = nearest(wanted, [...names, ...namedIn(env), 'memory'])
  const example = adapterNames.includes(wanted) ? `, as in ${wanted === 'rabbitmq' ? 'amqp' : wanted}://localhost` : ''
  return invalid(
    by === undefined ? `cannot find the broker "${wanted}"` : `cannot find the broker "${wanted}" (${by})`,
    `${where}, and ${variableOf(wanted, 'URL')} is not set${example}.${hint === undefined ? '' : ` did you mean "${hint}"?`}`,
  )
}

function nothingChosen(cwd: string, file: ConfigFile | undefined, names: readonly string[]): Error {
  if (file === undefined) {
    return invalid(
      'cannot load the configuration',
      `there is no posthorn.config.{js,mjs,json,ts} in ${cwd} or above, and ${chooser} is not set. set it to a URL, as in ${chooser}=redis://localhost`,
    )
  }
  return invalid(
    `cannot use ${file.path}`,
    `it names several brokers (${names.join(', ')}) and no "default". add one, set ${chooser}, or say which: loadConfig('${names[0]}')`,
  )
}
