// An auditor in another process and another language: one JSON line per call and per answer, over its stdin and stdout.

import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { realClock } from './clock.ts'
import { type Auditor, type Removal, type StoredMessage, unsupported } from './harness.ts'

/** Where an auditor's program is and what it is told at its start. */
export interface AuditorProcessOptions {
  /** A Python 3 that can import the packages of the auditor. */
  readonly python: string
  /** The program: its path. `auditorProgram` knows those of this package. */
  readonly program: string
  /** What its `open` gets: at least the address. */
  readonly open: Readonly<Record<string, unknown>>
  /** Longest wait for one answer, in milliseconds. @default 90_000 */
  readonly answerMs?: number | undefined
}

/** An auditor that runs elsewhere, with calls of its own beside those that clauses need. */
export interface AuditorProcess extends Auditor {
  /**
   * Any call by its name: `clean`, which removes everything under a prefix, and what else a program offers.
   * @throws Error as the other calls do
   */
  call(name: string, ...args: readonly unknown[]): Promise<unknown>
}

/** The path of an auditor of this package: `redis` needs redis-py, `rabbitmq` pika, `kafka` kafka-python, `mqtt` paho-mqtt. */
export function auditorProgram(name: 'redis' | 'rabbitmq' | 'kafka' | 'mqtt'): string {
  return fileURLToPath(new URL(`../auditors/${name}.py`, import.meta.url))
}

/**
 * Starts an auditor and opens it. Its calls reject with what the program says, with `unsupported` where the broker cannot do or
 * tell it, and after `answerMs`. The process ends with `close`, and with this process whatever happens to it.
 *
 * @throws Error when the program does not start or its `open` fails
 */
export async function auditorProcess(options: AuditorProcessOptions): Promise<AuditorProcess> {
  const lines = talkTo(options)
  const { call } = lines
  try {
    await call('open', options.open)
  } catch (error) {
    await lines.end()
    throw error
  }
  const ask = async <T>(name: string, ...args: readonly unknown[]): Promise<T> => (await call(name, ...args)) as T
  return {
    call,
    write: (topic, message) => ask('write', topic, message),
    read: (place) => ask<readonly StoredMessage[]>('read', place),
    unsettled: (topic, group) => ask('unsettled', topic, group),
    remaining: (topic, group) => ask('remaining', topic, group),
    positions: (topic, group) => ask('positions', topic, group),
    owners: async (topic, group) => new Map(await ask<readonly (readonly [number, string])[]>('owners', topic, group)),
    members: (topic, group) => ask('members', topic, group),
    settles: (topic, group) => ask('settles', topic, group),
    exists: (topic) => ask('exists', topic),
    deny: (operation, topic) => ask('deny', operation, topic),
    allow: () => ask('allow'),
    remove: (what: Removal) => ask('remove', what),
    trim: (topic, partition) => ask('trim', topic, partition),
    expel: (instance) => ask('expel', instance),
    counters: () => ask('counters'),
    setPassword: (password) => ask('set_password', password),
    fill: (full) => ask('fill', full),
    writeEntry: (topic, entry) => ask('write_entry', topic, entry),
    readEntries: (topic) => ask('read_entries', topic),
    plain: {
      make: (names) => ask('plain_make', names),
      send: (names, bodies) => ask('plain_send', names, bodies),
      workOff: (names, count) => ask('plain_work_off', names, count),
      remaining: (names) => ask('plain_remaining', names),
      everything: () => ask('plain_everything'),
    },
    async close() {
      await call('close').catch(() => {})
      await lines.end()
    },
  }
}

interface Waiting {
  resolve(value: unknown): void
  reject(error: unknown): void
}

interface Talk {
  call(name: string, ...args: readonly unknown[]): Promise<unknown>
  end(): Promise<void>
}

function talkTo({ python, program, open, answerMs = 90_000 }: AuditorProcessOptions): Talk {
  // Isolated: what lies beside the program must not be imported in place of a package of the same name.
  const child = spawn(python, ['-I', '-B', '-u', program], { stdio: ['pipe', 'pipe', 'pipe'] })
  const waiting = new Map<number, Waiting>()
  const secret = typeof open['url'] === 'string' ? open['url'] : undefined
  let said = ''
  let rest = ''
  let calls = 0
  let over: Error | undefined

  const finish = (error: Error): void => {
    over ??= error
    for (const { reject } of waiting.values()) reject(over)
    waiting.clear()
  }
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000)
  })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    rest += text
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) answer(line)
  })
  child.stdin.on('error', () => {})
  // Only a call that waits keeps this process alive (by its timer): an auditor that nobody closed ends with it.
  child.unref()
  for (const pipe of [child.stdin, child.stdout, child.stderr]) (pipe as Socket).unref()
  child.on('error', (error) => finish(new Error(`the auditor ${program} does not start: ${error.message}`)))
  child.on('close', (code, signal) => {
    const last = secret === undefined ? said : said.replaceAll(secret, '<address>')
    finish(new Error(`the auditor ${program} has ended (${signal ?? code})${last === '' ? '' : `: ${last.trim()}`}`))
  })

  function answer(line: string): void {
    const {
      id,
      value,
      error,
      unsupported: reason,
    } = JSON.parse(line, revive) as {
      id: number
      value?: unknown
      error?: string
      unsupported?: string
    }
    const call = waiting.get(id)
    waiting.delete(id)
    if (reason !== undefined) call?.reject(unsupported(reason))
    else if (error !== undefined) call?.reject(new Error(`the auditor: ${error}`))
    else call?.resolve(value)
  }

  return {
    async call(name, ...args) {
      if (over !== undefined) throw over
      const id = ++calls
      let cancel = (): void => {}
      const answered = new Promise<unknown>((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        cancel = realClock.timer(answerMs, () => {
          waiting.delete(id)
          reject(new Error(`the auditor did not answer "${name}" within ${answerMs / 1000} s`))
        })
      })
      child.stdin.write(`${JSON.stringify({ id, call: name, args }, replace)}\n`)
      try {
        return await answered
      } finally {
        cancel()
      }
    },
    end: () => ended(child),
  }
}

/** Its stdin ends, and it with it; after two seconds without asking. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
  child.ref()
  child.stdin?.end()
  const cancel = realClock.timer(2000, () => child.kill('SIGKILL'))
  await gone
  cancel()
}

// `this` holds the value as it was: a Buffer turns itself into something else before a replacer sees it.
function replace(this: unknown, key: string, value: unknown): unknown {
  const own = (this as Record<string, unknown>)[key]
  return own instanceof Uint8Array ? { base64: Buffer.from(own.buffer, own.byteOffset, own.length).toString('base64') } : value
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('base64' in value)) return value
  return Object.keys(value).length === 1 ? new Uint8Array(Buffer.from(String(value.base64), 'base64')) : value
}
