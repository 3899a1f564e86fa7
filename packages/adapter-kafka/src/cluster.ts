// The nodes of a cluster as one session sees them: connections by node and purpose, who leads which partition, and whether the
// link is up. A request that may take long (a join, a fetch that waits) holds up what comes behind it on its connection, so each
// purpose has connections of its own.

import { setMaxListeners } from 'node:events'
import { type AdapterContext, reconnectDelay } from '@posthorn/core/adapter'
import type { Address, Connection, OpenConnection } from './client.ts'
import { fault, serverFault } from './explain.ts'
import { metadataBody, metadataVersion, readMetadata } from './metadata.ts'
import type { Settings } from './options.ts'

/** A topic as the cluster tells it. */
export interface TopicMeta {
  /** The leader of each partition; null: none at the moment. */
  readonly leaders: readonly (number | null)[]
  readonly replicas: number
  /** Of this very topic, not of one with its name; '' where the server tells none. */
  readonly id: string
}

export interface Cluster {
  readonly settings: Settings
  readonly context: AdapterContext
  readonly closed: boolean
  /** The connection of this purpose to this node; opened where there is none. Waits while the cluster is out of reach. */
  connection(node: number, purpose: string): Promise<Connection>
  /** A connection to any node. */
  main(): Promise<Connection>
  /** The node that makes topics. */
  controller(): Promise<Connection>
  /** The coordinator of a group or of a transactional id. */
  coordinator(key: string, kind: 'group' | 'transaction', purpose: string): Promise<Connection>
  forgetCoordinator(key: string): void
  /** What is known of a topic; null: nothing. */
  known(topic: string): TopicMeta | null
  /** Asks the cluster. null: there is no such topic. @throws what the server says */
  look(topic: string): Promise<TopicMeta | null>
  /** The same for many in one question. */
  lookAll(topics: readonly string[]): Promise<ReadonlyMap<string, TopicMeta | null>>
  /** Closes every connection of a purpose; resolves when those that are being opened are closed too. */
  drop(purpose: string): Promise<void>
  /** Resolves after `ms`, or at once when the session closes. */
  pause(ms: number): Promise<void>
  close(): void
}

/** How long the first try to connect again may take; each further one may take twice as long, up to the limit of any other. */
const firstTryMs = 1000

interface Open {
  readonly connection: Promise<Connection>
  readonly node: number
}

/** Connects to the first seed that answers. Rejects with what the last one said. */
export async function openCluster(
  settings: Settings,
  context: AdapterContext,
  openConnection: OpenConnection,
  signal: AbortSignal,
): Promise<Cluster> {
  const { clock, random } = context
  const nodes = new Map<number, Address>()
  const topics = new Map<string, TopicMeta>()
  const coordinators = new Map<string, Promise<number>>()
  const connections = new Map<string, Open>()
  const ending = new AbortController()
  // Everything that waits listens for the end.
  setMaxListeners(0, ending.signal)
  let mainNow: Connection | null = null
  let controllerNode = -1
  let healing: Promise<void> | null = null
  let cancelPulse: (() => void) | null = null
  let seed = 0

  const closedFault = (): Error => fault('CLOSED', 'kafka: the session is closed', 'failed')

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        ending.signal.removeEventListener('abort', end)
        resolve()
      }
      const cancel = clock.timer(ms, end)
      ending.signal.addEventListener('abort', end, { once: true })
      if (ending.signal.aborted) end()
    })
  }

  // ── the connection to anybody ────────────────────────────────────────────────────────────────────────────────────
  async function openMain(until: AbortSignal, limitMs = Number.POSITIVE_INFINITY): Promise<Connection> {
    const known = new Map<string, Address>()
    for (const address of [...settings.seeds, ...[...nodes.values()].map(settings.reach)])
      known.set(`${address.host} ${address.port}`, address)
    const candidates = [...known.values()]
    let failure: unknown
    for (let tries = 0; tries < candidates.length; tries++) {
      const address = candidates[seed++ % candidates.length] as Address
      try {
        return await openWithin(address, until, limitMs)
      } catch (error) {
        failure = error
        if (until.aborted) break
      }
    }
    throw failure
  }

  async function openWithin(address: Address, until: AbortSignal, limitMs: number): Promise<Connection> {
    const limit = new AbortController()
    const giveUp = (): void => limit.abort()
    until.addEventListener('abort', giveUp, { once: true })
    const cancel = limitMs >= settings.connectTimeoutMs ? () => {} : clock.timer(limitMs, giveUp)
    try {
      if (until.aborted) giveUp()
      const connection = await openConnection(address, limit.signal)
      const close = (): void => connection.close()
      limit.signal.addEventListener('abort', close, { once: true })
      try {
        await learn(connection)
      } catch (error) {
        connection.close()
        throw error
      } finally {
        limit.signal.removeEventListener('abort', close)
      }
      return connection
    } finally {
      cancel()
      until.removeEventListener('abort', giveUp)
    }
  }

  /** Nodes, and the leaders of all topics that are in use. */
  async function learn(connection: Connection): Promise<void> {
    await lookBy(connection, topics.size > 0 ? [...topics.keys()] : ['__consumer_offsets'])
  }

  function begin(connection: Connection): void {
    mainNow = connection
    connection.lost.addEventListener('abort', () => {
      if (mainNow !== connection) return
      mainNow = null
      cancelPulse?.()
      if (ending.signal.aborted) return
      // One that was silent: the others to the same server are no better, and would find out one by one.
      for (const [key, open] of [...connections]) {
        if (nodes.size > 1) break
        connections.delete(key)
        open.connection.then(
          (each) => each.close(connection.lost.reason),
          () => {},
        )
      }
      heal(connection.lost.reason)
    })
    pulse(connection)
  }

  function pulse(connection: Connection): void {
    cancelPulse = clock.timer(settings.requestTimeoutMs / 10, () => {
      connection.raw({ api: 'ApiVersions', version: 0, body: Buffer.alloc(0) }).then(
        () => {
          if (mainNow === connection && !ending.signal.aborted) pulse(connection)
        },
        () => {},
      )
    })
  }

  function heal(error: unknown): Promise<void> {
    if (ending.signal.aborted) return Promise.reject(closedFault())
    healing ??= (async () => {
      context.report('recovering', error)
      for (let tries = 0; !ending.signal.aborted; tries++) {
        // Soon, and then never more than twice in a second. Not at once: what cut the old connection may still be at it.
        await pause(tries === 0 ? Math.ceil(200 + 100 * random()) : Math.min(2000, Math.max(550, reconnectDelay(tries, random))))
        if (ending.signal.aborted) break
        try {
          // What was silent may be silent still: a try over the same way must not take as long as it takes to notice.
          const connection = mainNow ?? (await openMain(ending.signal, firstTryMs * 2 ** tries))
          if (ending.signal.aborted) {
            connection.close()
            break
          }
          coordinators.clear()
          healing = null
          if (mainNow === null) begin(connection)
          context.report('connected')
          return
        } catch {
          // Reported already; the next try comes later.
        }
      }
      throw closedFault()
    })()
    healing.catch(() => {})
    return healing
  }

  async function main(): Promise<Connection> {
    while (mainNow === null) {
      if (ending.signal.aborted) throw closedFault()
      await heal(fault('UNAVAILABLE', 'kafka: no connection'))
    }
    return mainNow
  }

  // ── connections by purpose ───────────────────────────────────────────────────────────────────────────────────────
  async function connection(node: number, purpose: string): Promise<Connection> {
    const key = `${purpose} ${node}`
    for (;;) {
      if (ending.signal.aborted) throw closedFault()
      if (purpose === 'main' && nodes.size === 1) return await main()
      if (healing !== null) await healing
      const known = connections.get(key)
      if (known !== undefined) return await known.connection
      const address = nodes.get(node)
      if (address === undefined) throw fault('UNAVAILABLE', `kafka: node ${node} is not in the cluster at the moment`, 'failed')
      if (mainNow === null) {
        await main()
        continue
      }
      const opening = openConnection(settings.reach(address), ending.signal)
      const open: Open = { connection: opening, node }
      connections.set(key, open)
      const forget = (): void => {
        if (connections.get(key) === open) connections.delete(key)
      }
      opening.then(
        (made) => {
          if (connections.get(key) !== open) made.close()
          made.lost.addEventListener('abort', () => {
            const mine = connections.get(key) === open
            forget()
            // The main connection says whether the server is there.
            if (mine && !ending.signal.aborted) probe()
          })
        },
        () => {
          forget()
          probe()
        },
      )
      return await opening
    }
  }

  function probe(): void {
    mainNow?.raw({ api: 'ApiVersions', version: 0, body: Buffer.alloc(0) }).catch(() => {})
  }

  // ── metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────
  async function lookBy(connection_: Connection, names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const reply = connection_.takes('Metadata', metadataVersion)
      ? readMetadata(await connection_.raw({ api: 'Metadata', version: metadataVersion, body: metadataBody(names) }))
      : await connection_.request('Metadata', { topics: names, allowAutoTopicCreation: false })
    nodes.clear()
    for (const { nodeId, host, port } of reply.brokers) nodes.set(nodeId, { host, port })
    controllerNode = reply.controllerId
    const errors = new Map<string, number>()
    for (const { topic, topicId = '', topicErrorCode, partitionMetadata } of reply.topicMetadata) {
      if (topicErrorCode !== 0 && topicErrorCode !== 5) {
        errors.set(topic, topicErrorCode)
        if (topicErrorCode === 3) topics.delete(topic)
        continue
      }
      const leaders: (number | null)[] = []
      let replicas = 1
      for (const { partitionId, leader, replicas: copies } of partitionMetadata) {
        leaders[partitionId] = leader < 0 ? null : leader
        replicas = Math.max(replicas, copies.length)
      }
      for (let at = 0; at < leaders.length; at++) leaders[at] ??= null
      if (topic !== '__consumer_offsets') topics.set(topic, { leaders, replicas, id: topicId })
    }
    return errors
  }

  const looking = new Map<string, Promise<TopicMeta | null>>()
  function look(topic: string): Promise<TopicMeta | null> {
    const running = looking.get(topic)
    if (running !== undefined) return running
    const work = (async () => {
      const errors = await lookBy(await main(), [topic])
      const code = errors.get(topic)
      if (code === 3) return null
      if (code !== undefined) throw serverFault(code, `looking at topic "${topic}"`)
      return topics.get(topic) ?? null
    })().finally(() => looking.delete(topic))
    looking.set(topic, work)
    return work
  }

  async function lookAll(names: readonly string[]): Promise<ReadonlyMap<string, TopicMeta | null>> {
    const errors = await lookBy(await main(), names)
    const found = new Map<string, TopicMeta | null>()
    for (const name of names) {
      const code = errors.get(name)
      if (code !== undefined && code !== 3) throw serverFault(code, `looking at topic "${name}"`)
      found.set(name, code === 3 ? null : (topics.get(name) ?? null))
    }
    return found
  }

  async function findCoordinator(key: string, kind: 'group' | 'transaction'): Promise<number> {
    for (let tries = 0; ; tries++) {
      const reply = await (await main()).request('GroupCoordinator', { groupId: key, coordinatorType: kind === 'group' ? 0 : 1 })
      if (reply.errorCode === 0) {
        const { nodeId, host, port } = reply.coordinator
        nodes.set(nodeId, { host, port })
        return nodeId
      }
      // Its topic is being made.
      if (reply.errorCode !== 15 || tries >= 50) throw serverFault(reply.errorCode, `finding the coordinator of "${key}"`)
      await pause(100)
      if (ending.signal.aborted) throw closedFault()
    }
  }

  const first = await openMain(signal)
  if (signal.aborted) {
    first.close()
    throw fault('CANCELLED', 'kafka: connecting was given up')
  }
  begin(first)

  return {
    settings,
    context,
    get closed() {
      return ending.signal.aborted
    },
    connection,
    main,
    async controller() {
      const known = await main()
      return nodes.has(controllerNode) && nodes.size > 1 ? await connection(controllerNode, 'main') : known
    },
    async coordinator(key, kind, purpose) {
      const name = `${kind} ${key}`
      let node = coordinators.get(name)
      if (node === undefined) {
        const asked = findCoordinator(key, kind)
        node = asked
        coordinators.set(name, asked)
        asked.catch(() => {
          if (coordinators.get(name) === asked) coordinators.delete(name)
        })
      }
      return await connection(await node, purpose)
    },
    forgetCoordinator(key) {
      coordinators.delete(`group ${key}`)
      coordinators.delete(`transaction ${key}`)
    },
    known: (topic) => topics.get(topic) ?? null,
    look,
    lookAll,
    async drop(purpose) {
      const closing: Promise<void>[] = []
      for (const [key, open] of [...connections]) {
        if (!key.startsWith(`${purpose} `)) continue
        connections.delete(key)
        closing.push(
          open.connection.then(
            (each) => each.close(),
            () => {},
          ),
        )
      }
      await Promise.all(closing)
    },
    pause,
    close() {
      if (ending.signal.aborted) return
      ending.abort()
      cancelPulse?.()
      mainNow?.close(closedFault())
      for (const open of connections.values())
        open.connection.then(
          (each) => each.close(closedFault()),
          () => {},
        )
      connections.clear()
    },
  }
}
