// Opens everything that a clause connects, keeps count of it, and closes it at the end.

import type { Broker, ConnectOptions, LogEntry } from '@posthorn/core'
import { type Adapter, type AdapterContext, type Clock, connectWith } from '@posthorn/core/adapter'
import { ClauseFailure, fail } from './assert.ts'
import type { BrokerProcess, Harness, SimulatedLink } from './harness.ts'
import type { RealLink } from './links.ts'
import type { FaultPoint } from './member.ts'
import { observeAdapter } from './observe.ts'
import { noCalls, type Peer } from './peer.ts'
import { peerClock } from './peer-clock.ts'
import { nearlyOne } from './random.ts'
import type { Opened, TrialConnectOptions } from './trial.ts'
import { type WatchTools, watchBroker } from './watch-broker.ts'
import type { World } from './world.ts'

export interface ConnectionTools extends WatchTools {
  readonly harness: Harness
  readonly server: BrokerProcess
  readonly world: World
  readonly random: () => number
  logged(entry: LogEntry, peer: Peer): void
  /** On a real broker: what this client connects to, and its link if it is held here. */
  readonly clientLink?: ((name: string) => Promise<{ readonly address: string; readonly link: RealLink | undefined }>) | undefined
  /** Ends the process of this connection, where it has one of its own. */
  readonly die?: (() => void) | undefined
  readonly flush?: (() => void) | undefined
}
export interface Connections {
  readonly peers: readonly Peer[]
  readonly partitions: ReadonlyMap<string, number>
  connect(
    options?: TrialConnectOptions,
    member?: { readonly name: string; readonly dieAt: FaultPoint | undefined },
  ): Promise<{ readonly broker: Broker; readonly peer: Peer }>
  open(): Promise<Opened>
  adapter(options?: Record<string, unknown>): Adapter
  peerOf(connection: Broker | Opened): Peer
  link(peer: Peer): SimulatedLink
  /** Closes what is open; what does not close in time is a violation of LIFE-3. */
  closeAll(): Promise<void>
}

export function createConnections(tools: ConnectionTools): Connections {
  const { harness, server, world, journal } = tools
  const peers: Peer[] = []
  let made = 0
  const partitions = new Map<string, number>()
  const byConnection = new WeakMap<object, Peer>()
  const closers: { readonly peer: Peer; close(): Promise<void> }[] = []

  async function newPeer(
    options: Pick<TrialConnectOptions, 'before'>,
    member?: { readonly name: string; readonly dieAt: FaultPoint | undefined },
  ): Promise<Peer> {
    const clock = peerClock(world.clock)
    const name = member?.name ?? `c${made++}`
    const real = tools.clientLink === undefined ? undefined : await tools.clientLink(name)
    const peer: Peer = {
      name,
      link: real?.link,
      address: real?.address ?? server.address,
      clock,
      random: tools.random,
      calls: noCalls(),
      dieAt: member?.dieAt,
      before: options.before,
      said: [],
      instance: undefined,
      state: 'open',
      wasFrozen: false,
      kill() {
        if (peer.state === 'dead') return
        peer.state = 'dead'
        journal.note(`${peer.name}: killed`)
        clock.kill()
        if (tools.die !== undefined) tools.die()
        else if (peer.link !== undefined) peer.link.kill()
        else if (peer.instance !== undefined) link(peer).kill()
      },
    }
    peers.push(peer)
    return peer
  }
  function link(peer: Peer): SimulatedLink {
    if (peer.link !== undefined) return peer.link
    if (peer.instance === undefined) fail(`${peer.name} never asked its adapter to open, so it has no link`)
    return server.simulation?.link(peer.instance) ?? notProven('this connection has no link that the suite could disturb')
  }
  const observed = (peer: Peer, options?: Record<string, unknown>, address = peer.address): Adapter =>
    observeAdapter(harness.adapter(address, options), peer, { journal, link: () => link(peer), partitions, flush: tools.flush })

  return {
    peers,
    partitions,
    link,
    adapter: (options) => harness.adapter(server.address, options),
    async connect(options = {}, member) {
      const { jitter = 'full', before, adapter, at, looksOnly, ...rest } = options
      const peer = await newPeer({ ...(before === undefined ? {} : { before }) }, member)
      const random = jitter === 'full' ? nearlyOne(tools.random) : tools.random
      const given = rest.log
      const connectOptions: ConnectOptions = {
        name: 'suite',
        ...rest,
        ...('log' in rest && typeof given !== 'function'
          ? { log: given }
          : {
              log: (entry: LogEntry) => {
                tools.logged(entry, peer)
                if (typeof given === 'function') given(entry)
              },
            }),
      }
      const label = `${peer.name}: connect`
      tools.pending.add(label)
      try {
        const clock: Clock = peer.clock
        const inner = await connectWith({ clock, random, looksOnly }, observed(peer, adapter, at?.(peer.address)), connectOptions)
        const broker = watchBroker(inner, peer, tools)
        byConnection.set(broker, peer)
        closers.push({ peer, close: () => broker.close({ drainMs: 1000 }) })
        return { broker, peer }
      } catch (error) {
        if (peer.state === 'open') peer.state = 'closed'
        throw error
      } finally {
        tools.pending.delete(label)
      }
    },
    async open() {
      const peer = await newPeer({})
      const controller = new AbortController()
      const context: AdapterContext = {
        clock: peer.clock,
        random: tools.random,
        instance: `direct-${peers.length}-${Math.floor(tools.random() * 2 ** 32).toString(16)}`,
        name: 'suite',
        report() {},
        event() {},
      }
      const session = await observed(peer).open(context, controller.signal)
      const opened: Opened = {
        session,
        instance: context.instance,
        said: peer.said,
        async close() {
          if (peer.state !== 'open') return
          peer.state = 'closing'
          await session.close(AbortSignal.abort())
          peer.state = 'closed'
        },
      }
      byConnection.set(opened, peer)
      closers.push({ peer, close: () => opened.close() })
      return opened
    },
    peerOf: (connection) => byConnection.get(connection) ?? fail('this connection was not made by t.connect or t.open'),
    async closeAll() {
      for (const { peer } of closers) if (peer.clock.stopped) peer.kill()
      const open = closers.filter(({ peer }) => peer.state === 'open' || peer.state === 'closing')
      await Promise.all(
        open.map(async ({ peer, close }) => {
          let ended = false
          const closing = close().then(
            () => {
              ended = true
            },
            (error: unknown) => {
              ended = true
              journal.violate('LIFE-3', `${peer.name}: close rejected: ${String(error)}`)
            },
          )
          const deadline = world.sleep(12_000)
          await Promise.race([closing, deadline])
          if (!ended) journal.violate('LIFE-3', `${peer.name}: close did not resolve within 12 s at the end of the clause`)
        }),
      )
    },
  }
}

function notProven(reason: string): never {
  throw new ClauseFailure('not proven', reason)
}
