// The embedded broker as an adapter: for tests, for one process, for a first hour with the library.

import type { Adapter } from '../contract.ts'
import { explain, fault } from './explain.ts'
import type { MemoryServer } from './faults.ts'
import type { MemoryOptions, MemoryServerOptions } from './options.ts'
import { settingsOf, splitOptions } from './options.ts'
import { EmbeddedServer } from './server.ts'
import { openSession } from './session.ts'

export type { MemoryProfile } from './capabilities.ts'
export type {
  LinkDirection,
  MemoryLink,
  MemoryServer,
  MemoryStats,
  Operation,
  RawMessage,
  Removal,
  SettleCounts,
  StoredMessage,
} from './faults.ts'
export type { MemoryCapabilities, MemoryOptions, MemoryServerOptions } from './options.ts'

const registryKey: unique symbol = Symbol.for('posthorn.memory')

interface Shared {
  readonly server: EmbeddedServer
  readonly options: string
}

/** The only state of the library that a whole process shares: servers by name, from whichever copy of this module. */
function registry(): Map<string, Shared> {
  const holder = globalThis as { [registryKey]?: Map<string, Shared> }
  holder[registryKey] ??= new Map()
  return holder[registryKey]
}

function sharedServer(name: string, options: MemoryServerOptions): EmbeddedServer {
  const known = registry().get(name)
  const text = JSON.stringify(options)
  if (known !== undefined) {
    if (text !== '{}' && text !== known.options) {
      throw fault('CONFLICT', `embedded broker "memory:${name}" runs in this process with other options; give all of them the same`)
    }
    return known.server
  }
  const server = new EmbeddedServer(settingsOf(options))
  registry().set(name, { server, options: text })
  return server
}

/**
 * A server to be held by a test: it plays faults and shows everything. Pass it to `memory({ server })`; many adapters may
 * share it. Throws INVALID_ARGUMENT for options that are wrong.
 */
export function memoryServer(options: MemoryServerOptions = {}): MemoryServer {
  return new EmbeddedServer(settingsOf(options))
}

/**
 * The embedded broker. Messages live in this process and end with it. Without `name` or `server` each adapter object has a
 * server of its own, which every `connect` with that object shares. Throws INVALID_ARGUMENT for options that are wrong.
 */
export function memory(options: MemoryOptions = {}): Adapter {
  const { server: given, name, rest } = splitOptions(options)
  const server = pick(given, name, rest)
  return {
    name: 'memory',
    best: server.capabilities,
    open: (context, signal) => openSession(server, context, signal),
    explain,
  }
}

function pick(given: unknown, name: unknown, rest: MemoryServerOptions): EmbeddedServer {
  if (given !== undefined) {
    if (!(given instanceof EmbeddedServer)) throw fault('INVALID_ARGUMENT', 'embedded broker: server must come from memoryServer()')
    if (name !== undefined || Object.keys(rest).length > 0) {
      throw fault('INVALID_ARGUMENT', 'embedded broker: a server that is given has its options already; give them to memoryServer()')
    }
    return given
  }
  if (name === undefined) return new EmbeddedServer(settingsOf(rest))
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) {
    throw fault('INVALID_ARGUMENT', 'embedded broker: a name is 1 to 128 letters, digits, dots, dashes or underscores')
  }
  return sharedServer(name, rest)
}

/** Numbers and words that a URL may carry after `?`. */
function parameters(search: string): MemoryServerOptions {
  const options: Record<string, unknown> = {}
  for (const [key, value] of new URLSearchParams(search)) {
    options[key] = value === 'true' || value === 'false' ? value === 'true' : /^\d+$/.test(value) ? Number(value) : value
  }
  return options
}

/**
 * What `connect` calls for `memory:` (private to that connect) and `memory:name` (shared in this process). Server options may
 * follow as parameters: `memory:?profile=kafka`. Throws INVALID_ARGUMENT for anything else.
 */
export function adapter(url: string, options?: unknown): Adapter {
  const match = /^memory:([^?#]*)(?:\?([^#]*))?$/i.exec(url)
  if (match === null) throw fault('INVALID_ARGUMENT', 'embedded broker: the URL must be memory: or memory:name')
  const { server, name, rest } = splitOptions(options)
  const urlName = match[1] === undefined || match[1] === '' ? undefined : match[1]
  const all: MemoryOptions = { ...parameters(match[2] ?? ''), ...rest }
  const finalName = urlName ?? name
  return memory({
    ...all,
    ...(finalName === undefined ? {} : { name: finalName as string }),
    ...(server === undefined ? {} : { server: server as MemoryServer }),
  })
}
