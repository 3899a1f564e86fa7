// One client's way to the broker, in the proxy's process: a listener of its own, and all connections that came in by it.

import { createServer, type Server, type Socket } from 'node:net'
import { realClock } from '../clock.ts'
import type { WireReader } from '../wires/wire.ts'
import type { Endpoint } from './address.ts'
import { Connection } from './connection.ts'
import { type Faults, noFaults } from './faults.ts'
import type { Order } from './orders.ts'
import { emptyState, operations, type StateWriter } from './state.ts'

/** What a link shares with the proxy. */
export interface LinkTools {
  readonly target: Endpoint
  readonly state: StateWriter
  readonly random: () => number
  newReader(): WireReader | undefined
  poll(): void
}

/** A link that listens. */
export interface ServedLink {
  readonly port: number
  obey(order: Order, seq: number): void
  /** Ends its connections and stops listening. */
  close(): void
}

/** Listens on a free port of this machine. */
export async function serveLink(tools: LinkTools): Promise<ServedLink> {
  const faults = noFaults()
  const state = emptyState()
  const connections = new Set<Connection>()
  let closed = false
  const write = (): void => {
    if (!closed) tools.state.write(state)
  }
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => accept(client))

  function accept(client: Socket): void {
    tools.poll()
    if (closed) {
      client.destroy()
      return
    }
    tools.state.connect(state.connects, realClock.monotonic())
    state.connects++
    write()
    if (faults.refused) {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const connection: Connection = new Connection(client, {
      target: tools.target,
      faults,
      reader: tools.newReader(),
      random: tools.random,
      poll: tools.poll,
      opened(operation, more) {
        const index = operations.indexOf(operation)
        state.open[index] = (state.open[index] ?? 0) + more
      },
      withheld(answers) {
        state.withheld += answers
      },
      live(on) {
        state.connections += on ? 1 : -1
      },
      changed: write,
      closed: () => connections.delete(connection),
    })
    connections.add(connection)
  }

  await listening(server)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy got no port to listen on')
  function close(): void {
    if (closed) return
    for (const connection of connections) connection.cut()
    server.close()
    write()
    closed = true
    tools.state.close()
  }
  return {
    port: address.port,
    close,
    obey(order, seq) {
      if (order.do === 'close') return close()
      obey(order, faults, connections)
      state.applied = seq
      write()
    },
  }
}

function obey(order: Order, faults: Faults, connections: ReadonlySet<Connection>): void {
  switch (order.do) {
    case 'cut':
      for (const connection of connections) connection.cut()
      return
    case 'rst':
      for (const connection of connections) connection.rst()
      return
    case 'forget':
      for (const connection of connections) connection.forget()
      return
    case 'refuse':
      faults.refused = order.on
      return
    case 'silence':
      if (order.direction !== 'down') faults.silent.up = true
      if (order.direction !== 'up') faults.silent.down = true
      return
    case 'delay':
      faults.latencyMs = order.latencyMs
      faults.jitterMs = order.jitterMs
      return
    case 'throttle':
      faults.bytesPerSecond = order.bytesPerSecond
      break
    case 'slices':
      faults.sliceBytes = order.bytes
      break
    case 'lumps':
      faults.lumpBytes = order.bytes
      break
    case 'withhold':
      faults.withheld = new Set(order.operations)
      break
    case 'drop':
      faults.dropped = new Set(order.operations)
      return
    case 'cutAfter':
      faults.cutAfter = { operation: order.operation, short: order.short }
      return
    case 'corrupt':
      faults.corrupt = order.bytes
      return
    case 'close':
      return
    case 'heal':
      Object.assign(faults, { ...noFaults(), lineFree: faults.lineFree })
      break
  }
  for (const connection of connections) connection.relax()
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: 0, backlog: 512 }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
