// A TCP proxy that plays the network between the suite's clients and one broker, in a process of its own.

import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Link, Operation } from '../harness.ts'
import type { WireModule } from '../wires/wire.ts'
import { throughPort } from './address.ts'
import { type FromProxy, ordersFile, stateFile, type ToProxy } from './messages.ts'
import { orderWriter } from './orders.ts'
import { remoteLink } from './remote-link.ts'

/**
 * Faults on one client's way to the broker. Each call takes effect before it returns for all that is written afterwards: the proxy
 * looks for orders before it passes on any byte. What it knows (`connected`, `open`, `withheld`, `connects`) is read from the proxy
 * at the moment of asking and is never older than what the client has been told; after `cut`, `rst` and `heal` an answer that the
 * proxy has yet to obey is already given as obeyed.
 */
export interface ProxyLink extends Link {
  /** As `cut`, but both ends see a reset instead of an orderly end. */
  rst(): void
  /** At most so many bytes are written at once, each way, so that frames arrive in pieces. null: as they come. */
  slices(bytes: number | null): void
  /** Bytes are held back, each way, until there are so many or for 50 ms, and then arrive as one. null: as they come. */
  lumps(bytes: number | null): void
  /** The connections open now are forgotten, as by a router: nobody is told, and the next byte is answered with a reset. New ones are let through. */
  forget(): void
  /**
   * The answers to these operations vanish and nothing else does. In a protocol that tells answers apart by their order (Redis) the
   * client then takes one answer for another: a broken server, not a broken network. `withhold` never does that. Empty: none.
   */
  dropReplies(operations: readonly Operation[]): void
  /**
   * Once: the connection that carries the next request of this operation ends as soon as it has been passed on, without its last
   * `short` bytes, and before its answer. 0: the server gets it whole.
   */
  cutAfter(operation: Operation, short?: number): void
  /** So many of the next bytes from the server arrive damaged. */
  corrupt(bytes: number): void
  /** No client uses it any more: its connections end and nobody listens there. What it knows stays readable. */
  close(): void
  /** Resolves when the orders given so far are in force. Rejects when the proxy's process is gone. */
  ready(): Promise<void>
}

/** The proxy of one broker. */
export interface FaultProxy {
  /** A listener of its own for one client: its connections share the faults of this link. `address` is the broker's with host and port replaced. */
  link(name: string): Promise<{ readonly address: string; readonly link: ProxyLink }>
  /** Ends all connections and the process. */
  close(): Promise<void>
}

export interface ProxyOptions {
  /** The broker's own URL. */
  readonly target: string
  /** How to tell operations apart. Without it `withhold` and `open` know of none; so it is with an encrypted connection. */
  readonly wire: WireModule | undefined
}

const fromSource = import.meta.url.endsWith('.ts')

function startProcess(): ChildProcess {
  const file = fileURLToPath(new URL(fromSource ? './process.ts' : './process.js', import.meta.url))
  const loader = fromSource ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href] : []
  return fork(file, {
    execArgv: fromSource ? ['--conditions=@posthorn/source', ...loader] : [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

type Unnumbered<T> = T extends { readonly call: number } ? Omit<T, 'call'> : never

/** Starts the proxy. Rejects when its process does not come up or the wire cannot be loaded. Close it: its process lives as long as this one. */
export async function startProxy(options: ProxyOptions): Promise<FaultProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-proxy-'))
  writeFileSync(join(folder, ordersFile), '')
  const child = startProcess()
  const waiting = new Map<number, { resolve(answer: FromProxy): void; reject(error: Error): void }>()
  let calls = 0
  let gone: Error | undefined

  const exited = new Promise<void>((resolve) => {
    const ended = (why: string): void => {
      gone ??= new Error(`the fault proxy is gone: ${why}`)
      for (const { reject } of waiting.values()) reject(gone)
      waiting.clear()
      resolve()
    }
    child.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`))
    child.once('error', (error) => ended(error.message))
  })
  child.on('message', (answer: FromProxy) => {
    const call = waiting.get(answer.call)
    waiting.delete(answer.call)
    if (answer.error === undefined) call?.resolve(answer)
    else call?.reject(new Error(`the fault proxy: ${answer.error}`))
  })

  function ask(message: Unnumbered<ToProxy>): Promise<FromProxy> {
    return new Promise((resolve, reject) => {
      if (gone !== undefined) return reject(gone)
      const call = ++calls
      waiting.set(call, { resolve, reject })
      child.send({ ...message, call }, (error) => {
        if (error !== null && waiting.delete(call)) reject(gone ?? error)
      })
    })
  }

  const orders = orderWriter(join(folder, ordersFile))
  const closers: (() => void)[] = [() => orders.close()]
  let closing: Promise<void> | undefined

  async function close(): Promise<void> {
    await ask({ kind: 'close' }).catch(() => {})
    if (child.connected) child.disconnect()
    await exited
    for (const each of closers) each()
    rmSync(folder, { recursive: true, force: true })
  }

  const proxy: FaultProxy = {
    async link(name) {
      const { link: number, port } = await ask({ kind: 'link' })
      if (number === undefined || port === undefined) throw new Error(`the fault proxy gave no port for ${name}`)
      const link = remoteLink(number, join(folder, stateFile(number)), {
        give(order) {
          if (closing !== undefined) return
          if (gone !== undefined) throw gone
          orders.write(order)
          // What is written on the connections makes it look as well; this is for when nothing is.
          child.send({ kind: 'look' } satisfies ToProxy, () => {})
        },
        ready: async () => {
          await ask({ kind: 'ready' })
        },
      })
      closers.push(() => link.close())
      return { address: throughPort(options.target, port), link }
    },
    close() {
      closing ??= close()
      return closing
    },
  }
  try {
    await ask({ kind: 'start', folder, target: options.target, wire: options.wire })
  } catch (error) {
    await proxy.close()
    throw error
  }
  return proxy
}
