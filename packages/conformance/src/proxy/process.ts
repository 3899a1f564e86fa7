// The proxy's own process. It ends with the one that started it, however that ends, and takes its folder along.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { seeded } from '../random.ts'
import type { WireModule, WireReader } from '../wires/wire.ts'
import { type Endpoint, endpointOf } from './address.ts'
import { type ServedLink, serveLink } from './link.ts'
import { type FromProxy, ordersFile, stateFile, type ToProxy } from './messages.ts'
import { orderReader } from './orders.ts'
import { stateWriter } from './state.ts'

interface Running {
  readonly folder: string
  readonly target: Endpoint
  readonly newReader: () => WireReader | undefined
  readonly look: () => void
}

const links: ServedLink[] = []
let running: Running | undefined

async function readerOf(wire: WireModule | undefined, { tls }: Endpoint): Promise<() => WireReader | undefined> {
  // What is encrypted can be cut and slowed down, but not read.
  if (wire === undefined || tls) return () => undefined
  const { module, options } = wire
  const loaded: { createReader?: unknown } = await import(module.startsWith('file:') ? module : pathToFileURL(module).href)
  if (typeof loaded.createReader !== 'function') throw new TypeError(`${module} exports no createReader`)
  const make = loaded.createReader as (options: unknown) => WireReader
  make(options)
  return () => make(options)
}

async function start({ folder, target: address, wire }: Extract<ToProxy, { kind: 'start' }>): Promise<void> {
  const target = endpointOf(address)
  const newReader = await readerOf(wire, target)
  const look = orderReader(join(folder, ordersFile), ({ link, seq, order }) => links[link]?.obey(order, seq))
  running = { folder, target, newReader, look }
}

async function addLink(): Promise<Partial<FromProxy>> {
  if (running === undefined) throw new Error('the proxy has not started')
  const { folder, target, newReader, look } = running
  const link = links.length
  const state = stateWriter(join(folder, stateFile(link)))
  // Kept in the order of their numbers, though listening takes its time.
  const served = await serveLink({ target, state, newReader, random: seeded(link + 1), poll: look })
  links[link] = served
  return { link, port: served.port }
}

function end(): never {
  if (running !== undefined) rmSync(running.folder, { recursive: true, force: true })
  process.exit()
}

let turn: Promise<void> = Promise.resolve()
function answer(call: number, work: () => Promise<Partial<FromProxy>>): void {
  turn = turn.then(work).then(
    (result) => {
      process.send?.({ call, ...result } satisfies FromProxy)
    },
    (error: unknown) => {
      process.send?.({ call, error: error instanceof Error ? error.message : String(error) } satisfies FromProxy)
    },
  )
}

process.on('message', (message: ToProxy) => {
  switch (message.kind) {
    case 'look':
      running?.look()
      return
    case 'start':
      return answer(message.call, async () => {
        await start(message)
        return {}
      })
    case 'link':
      return answer(message.call, addLink)
    case 'ready':
      running?.look()
      return answer(message.call, async () => ({}))
    case 'close':
      return answer(message.call, async () => {
        for (const link of links) link.close()
        return {}
      })
  }
})
process.on('disconnect', end)
// A signal from the keyboard reaches the whole group; the one that started this one decides when it is over.
process.on('SIGINT', () => {})
process.on('SIGTERM', end)
