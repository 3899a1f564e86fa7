// Redis: tells requests apart by their command or script, and finds the request that an answer answers by counting.

import { createHash } from 'node:crypto'
import type { Operation } from '../harness.ts'
import { RespScanner, type RespValue } from './resp.ts'
import type { Frame, WireReader } from './wire.ts'

/** How the requests of an adapter are to be understood. */
export interface RedisWireOptions {
  /** What the scripts do, by SHA-1 of their source in lower-case hex, for EVALSHA and EVAL. */
  readonly scripts?: Readonly<Record<string, Operation>>
  /** What commands do, by name or by name and first argument (`XGROUP CREATE`), in upper case. Replaces what is known anyway. */
  readonly commands?: Readonly<Record<string, Operation>>
}

const known: Readonly<Record<string, Operation>> = {
  AUTH: 'connect',
  HELLO: 'connect',
  SELECT: 'connect',
  CLIENT: 'connect',
  PING: 'renew',
  XADD: 'publish',
  XREAD: 'read',
  XREADGROUP: 'read',
  XACK: 'settle',
  'XGROUP CREATE': 'declare',
  'XGROUP DESTROY': 'remove',
  XRANGE: 'browse',
  XREVRANGE: 'browse',
  XDEL: 'remove',
  XTRIM: 'remove',
  XINFO: 'inspect',
  XPENDING: 'inspect',
  XLEN: 'inspect',
  SUBSCRIBE: 'subscribe',
  PSUBSCRIBE: 'subscribe',
  SSUBSCRIBE: 'subscribe',
  UNSUBSCRIBE: 'release',
  PUNSUBSCRIBE: 'release',
  SUNSUBSCRIBE: 'release',
  QUIT: 'leave',
}

const subscribing = /^[ps]?(un)?subscribe$/i
const arriving = /^[ps]?message$/
/** They wait for something to happen rather than for an answer. */
const waiting = new Set(['BLPOP', 'BRPOP', 'BLMOVE', 'BLMPOP', 'BRPOPLPUSH', 'BZPOPMIN', 'BZPOPMAX', 'BZMPOP', 'WAIT', 'WAITAOF'])
const reading = new Set(['XREAD', 'XREADGROUP'])
const push = '>'.charCodeAt(0)
const array = '*'.charCodeAt(0)
const error = '-'.charCodeAt(0)

interface Asked {
  readonly operation: Operation | undefined
  readonly requests: number
  /** Of a subscription: confirmations that are still to come; null: as many as there are subscriptions. */
  confirmations: number | null | undefined
}

class RedisReader implements WireReader {
  readonly ordered = true
  readonly #scripts: Readonly<Record<string, Operation>>
  readonly #commands: Readonly<Record<string, Operation>>
  readonly #fromClient = new RespScanner(true, (script) => createHash('sha1').update(script).digest('hex'))
  readonly #fromServer = new RespScanner(false)
  /** In the order in which they will be answered. */
  readonly #asked: Asked[] = []
  /** Names by kind: how many answers an UNSUBSCRIBE without names gets. */
  readonly #subscribed = new Map<string, Set<string>>()
  #queued: { operation: Operation | undefined } | null = null
  #replies: 'on' | 'skip' | 'off' = 'on'

  constructor(options: RedisWireOptions) {
    this.#scripts = options.scripts ?? {}
    this.#commands = { ...known, ...options.commands }
  }

  up(chunk: Uint8Array): readonly Frame[] {
    return this.#fromClient.add(chunk).map((value) => this.#request(value))
  }

  down(chunk: Uint8Array, withholds: (operation: Operation) => boolean): readonly Frame[] {
    return this.#fromServer.add(chunk).map((value) => {
      const asked = this.#answered(value)
      const { bytes } = value
      if (asked?.operation === undefined) return { bytes, operation: undefined, requests: 0 }
      const { operation, requests } = asked
      return withholds(operation) ? { bytes, operation, requests: 0, lost: 1 } : { bytes, operation, requests }
    })
  }

  #request({ bytes, words, length }: RespValue): Frame {
    const name = words[0]?.toUpperCase() ?? ''
    if (name === '') return { bytes, operation: undefined, requests: 0 }
    const asked = this.#meaning(name, words, length)
    if (this.#silent(name, words)) return { bytes, operation: asked.operation, requests: 0 }
    this.#asked.push(asked)
    return { bytes, operation: asked.operation, requests: asked.operation === undefined ? 0 : asked.requests * (asked.confirmations ?? 1) }
  }

  #meaning(name: string, words: readonly string[], length: number): Asked {
    const operation = this.#operation(name, words)
    const plain: Asked = { operation, requests: 1, confirmations: undefined }
    if (name === 'MULTI') this.#queued = { operation: undefined }
    else if (name === 'DISCARD' || name === 'RESET') this.#queued = null
    else if (name === 'EXEC') {
      const inside = this.#queued?.operation
      this.#queued = null
      return { ...plain, operation: inside }
    } else if (this.#queued !== null) {
      // The answer to it is the answer to EXEC.
      this.#queued.operation ??= operation
      return { ...plain, operation: undefined }
    } else if (subscribing.test(name)) return { ...plain, confirmations: length > 1 ? length - 1 : null }
    else if (waiting.has(name) || (reading.has(name) && words.some((word) => word.toUpperCase() === 'BLOCK')))
      return { ...plain, requests: 0 }
    return plain
  }

  #operation(name: string, words: readonly string[]): Operation | undefined {
    const first = words[1] ?? ''
    if (name === 'EVALSHA' || name === 'EVAL' || name === 'EVALSHA_RO' || name === 'EVAL_RO')
      return this.#scripts[first.toLowerCase()] ?? this.#commands[name]
    return this.#commands[`${name} ${first.toUpperCase()}`] ?? this.#commands[name]
  }

  /** CLIENT REPLY: what gets no answer is not waited for. */
  #silent(name: string, words: readonly string[]): boolean {
    const mode = name === 'CLIENT' && words[1]?.toUpperCase() === 'REPLY' ? words[2]?.toUpperCase() : undefined
    const before = this.#replies
    if (mode === 'OFF') this.#replies = 'off'
    else if (mode === 'SKIP') this.#replies = before === 'off' ? 'off' : 'skip'
    else if (mode === 'ON' || before === 'skip') this.#replies = 'on'
    return mode === 'OFF' || mode === 'SKIP' || (mode !== 'ON' && before !== 'on')
  }

  /** The request that it answers; undefined where it answers none. */
  #answered(value: RespValue): Asked | undefined {
    const { type, words } = value
    const kind = words[0] ?? ''
    const first = this.#asked[0]
    const confirms = (type === push || type === array) && subscribing.test(kind) && value.length === 3
    if (confirms && first?.confirmations !== undefined) return this.#confirmed(first, kind, words[1] ?? '')
    if (type === push) return undefined
    if (type === array && arriving.test(kind) && this.#count() > 0) return undefined
    if (first === undefined || (value.words.length === 0 && type === 0)) return undefined
    this.#asked.shift()
    // Refused as a whole: none of its confirmations will come.
    if (type === error && first.confirmations !== undefined) return { ...first, requests: first.confirmations ?? 1 }
    return first
  }

  #confirmed(asked: Asked, kind: string, name: string): Asked {
    const names = this.#names(kind.replace(/un/i, ''))
    asked.confirmations ??= Math.max(1, names.size)
    if (/un/i.test(kind)) names.delete(name)
    else names.add(name)
    asked.confirmations--
    if (asked.confirmations === 0) this.#asked.shift()
    return asked
  }

  #names(kind: string): Set<string> {
    const key = kind.toLowerCase()
    const names = this.#subscribed.get(key) ?? new Set()
    this.#subscribed.set(key, names)
    return names
  }

  #count(): number {
    let count = 0
    for (const names of this.#subscribed.values()) count += names.size
    return count
  }
}

/** Reads a connection to Redis. Loaded by the proxy's process through `redisWire`. */
export function createReader(options: unknown): WireReader {
  return new RedisReader((options ?? {}) as RedisWireOptions)
}
