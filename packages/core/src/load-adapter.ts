import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { applicationFolder, currentFolder } from './application.ts'
import { invalid } from './check.ts'
import type { Adapter } from './contract.ts'
import { fromFault, MessagingError, textOf } from './errors.ts'
import { explain } from './memory/explain.ts'
import { nearest } from './nearest.ts'
import { redactText } from './redact.ts'

interface Scheme {
  /** The adapter's name, as under `native` and beside `url` in a target. */
  readonly adapter: string
  /** null: inside core. */
  readonly package: string | null
}

const schemes: ReadonlyMap<string, Scheme> = new Map([
  ['memory', { adapter: 'memory', package: null }],
  ['kafka', { adapter: 'kafka', package: '@posthorn/kafka' }],
  ['amqp', { adapter: 'rabbitmq', package: '@posthorn/rabbitmq' }],
  ['amqps', { adapter: 'rabbitmq', package: '@posthorn/rabbitmq' }],
  ['redis', { adapter: 'redis', package: '@posthorn/redis' }],
  ['rediss', { adapter: 'redis', package: '@posthorn/redis' }],
  ['mqtt', { adapter: 'mqtt', package: '@posthorn/mqtt' }],
  ['mqtts', { adapter: 'mqtt', package: '@posthorn/mqtt' }],
])

/** The names that may stand beside `url` in a target. */
export const adapterNames: readonly string[] = Object.freeze([...new Set([...schemes.values()].map((each) => each.adapter))])

/**
 * Which adapter a URL asks for. Only the scheme is read here: what follows may name several hosts, which no standard parser takes.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for a scheme nobody has, naming the nearest one
 */
export function schemeOf(url: string, attempted = 'cannot connect'): Scheme & { readonly scheme: string } {
  const shown = `"${redactText(url)}"`
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  const known = [...schemes.keys()].map((each) => `${each}:`).join(', ')
  if (scheme === undefined) throw invalid(attempted, `${shown} is no URL: it starts with its scheme. known are ${known}`)
  const found = schemes.get(scheme)
  if (found !== undefined) return { scheme, ...found }
  const hint = nearest(scheme, schemes.keys())
  throw invalid(
    attempted,
    `there is no adapter for "${scheme}:", as in ${shown}. ${hint === undefined ? `known are ${known}` : `did you mean "${hint}:"?`}`,
  )
}

/**
 * Loads the adapter that a URL asks for, from where the application would load it, and gives it the URL and its options.
 *
 * @throws MessagingError `UNAVAILABLE` where it is not installed or does not load, `INVALID_ARGUMENT` for what the adapter refuses
 */
export async function loadAdapter(url: string, options: unknown): Promise<Adapter> {
  const found = schemeOf(url)
  const module = found.package === null ? await import('./memory/index.ts') : await loadPackage(found.scheme, found.package, found.adapter)
  const factory = (module as { adapter?: unknown }).adapter
  if (typeof factory !== 'function') {
    throw new MessagingError(
      'UNAVAILABLE',
      `cannot load the adapter for "${found.scheme}:": ${found.package} exports no adapter(url, options). install the version that fits this core`,
      {
        retryable: false,
      },
    )
  }
  let made: unknown
  try {
    made = factory(url, options)
  } catch (error) {
    const attempted = `cannot connect to "${redactText(url)}"`
    if (found.package === null) throw fromFault(explain(error), error, attempted)
    // Nothing was opened yet: what it throws here is about the URL or the options.
    throw fromFault({ code: 'INVALID_ARGUMENT', retryable: false, outcome: 'failed' }, error, attempted)
  }
  const problem = adapterProblem(made)
  if (problem !== undefined)
    throw new MessagingError('INTERNAL', `cannot connect to "${redactText(url)}": adapter(url, options) gave ${problem}`)
  return made as Adapter
}

/** What keeps a value from being an adapter, or undefined where it is one. */
export function adapterProblem(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'no adapter'
  const candidate = value as Partial<Adapter>
  if (typeof candidate.name !== 'string' || candidate.name === '') return 'an adapter without a name'
  if (typeof candidate.open !== 'function') return `an adapter "${candidate.name}" without open()`
  if (typeof candidate.explain !== 'function') return `an adapter "${candidate.name}" without explain()`
  return undefined
}

async function loadPackage(scheme: string, name: string, adapter: string): Promise<unknown> {
  const folder = applicationFolder(currentFolder())
  const path = resolveFrom(folder, name) ?? resolveFrom(programFolder(), name)
  if (path === undefined) {
    throw new MessagingError(
      'UNAVAILABLE',
      `cannot load the adapter for "${scheme}:": ${name} is not installed in ${folder} (looked from package.json there). ` +
        `run \`npm install ${name}\`, or pass an adapter: connect(${adapter}({ … }))`,
      { retryable: false },
    )
  }
  try {
    return await import(pathToFileURL(path).href)
  } catch (error) {
    throw new MessagingError(
      'UNAVAILABLE',
      `cannot load the adapter for "${scheme}:": ${name} is installed, but loading it failed: ${textOf(error)}`,
      {
        retryable: false,
        cause: error,
      },
    )
  }
}

function resolveFrom(folder: string | undefined, name: string): string | undefined {
  if (folder === undefined) return undefined
  try {
    return createRequire(join(folder, 'package.json')).resolve(name)
  } catch {
    return undefined
  }
}

// A workspace is often started from its root, where the application's own dependencies cannot be seen.
function programFolder(): string | undefined {
  const program = process.argv[1]
  return program === undefined ? undefined : dirname(program)
}
