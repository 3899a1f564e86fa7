// Making topics: one request at a time for a whole session, and what is wanted meanwhile goes with the next. A server takes nearly as
// long for one topic as for many, and answers one request after the other.

import type { Replies, Requests } from './client.ts'
import type { Cluster, TopicMeta } from './cluster.ts'
import { codeOf, fault, serverFault } from './explain.ts'

/** A topic to make. */
export interface Wanted {
  readonly name: string
  readonly partitions: number
  /** -1: as many as the server says. */
  readonly replicas: number
  readonly config: Readonly<Record<string, string>>
}

/**
 * Makes topics and waits until each partition has a leader. What another process makes at the same time is as good.
 *
 * @throws what the server says of one of them
 */
export type MakeTopics = (wanted: readonly Wanted[]) => Promise<ReadonlyMap<string, TopicMeta | null>>

type Answers = Replies['CreateTopics']['topicErrors']
interface Asking {
  readonly wanted: readonly Wanted[]
  readonly resolve: (answers: Answers) => void
  readonly reject: (error: unknown) => void
}

const exists = 36
/** Errors that go away by themselves. */
const passing = new Set([5, 7, 41, 60])
/** A server refuses a request with five times as many. */
const mostPartitions = 2000

/** The way to make topics over the connections of a cluster. */
export function createTopicMaker(cluster: Cluster): MakeTopics {
  const { clock } = cluster.context
  const timeout = Math.max(10_000, cluster.settings.requestTimeoutMs)
  let waiting: Asking[] = []
  let running = false

  function ask(wanted: readonly Wanted[]): Promise<Answers> {
    return new Promise((resolve, reject) => {
      waiting.push({ wanted, resolve, reject })
      if (!running) void askAll()
    })
  }

  async function askAll(): Promise<void> {
    running = true
    while (waiting.length > 0) {
      const { asking, topics } = next()
      try {
        const connection = await cluster.controller()
        const { topicErrors } = await connection.request('CreateTopics', { topics, timeout }, timeout)
        for (const { wanted, resolve } of asking) resolve(topicErrors.filter(({ topic }) => wanted.some(({ name }) => name === topic)))
      } catch (error) {
        for (const { reject } of asking) reject(error)
      }
    }
    running = false
  }

  /** As many as fit into a request, each topic once. */
  function next(): { readonly asking: readonly Asking[]; readonly topics: Requests['CreateTopics']['topics'] } {
    const topics = new Map<string, Wanted>()
    let partitions = 0
    let count = 0
    for (const { wanted } of waiting) {
      partitions += wanted.reduce((sum, each) => sum + each.partitions, 0)
      if (count > 0 && partitions > mostPartitions) break
      for (const each of wanted) if (!topics.has(each.name)) topics.set(each.name, each)
      count++
    }
    const asking = waiting.slice(0, count)
    waiting = waiting.slice(count)
    return { asking, topics: [...topics.values()].map(written) }
  }

  return async (wanted) => {
    for (let tries = 0; ; tries++) {
      const failed = (await ask(wanted)).find(({ errorCode }) => errorCode !== 0 && errorCode !== exists)
      if (failed === undefined) break
      const { topic, errorCode, errorMessage } = failed
      if (!passing.has(errorCode) || tries >= 20)
        throw serverFault(errorCode, `making topic "${topic}"${errorMessage === null ? '' : ` (${errorMessage})`}`)
      await cluster.pause(100)
      await cluster.lookAll([topic]).catch(() => {})
    }
    const names = wanted.map(({ name }) => name)
    const deadline = clock.monotonic() + timeout
    for (;;) {
      const found = await cluster.lookAll(names).catch((error: unknown) => {
        if (codeOf(error) === null) throw error
        return new Map<string, TopicMeta | null>()
      })
      if (names.every((name) => complete(found.get(name)))) return found
      if (clock.monotonic() > deadline || cluster.closed)
        throw fault('UNAVAILABLE', `kafka: topic "${names[0]}" was made, but not all its partitions have a leader yet`, 'failed')
      await cluster.pause(20)
    }
  }
}

function written({ name, partitions, replicas, config }: Wanted): Requests['CreateTopics']['topics'][number] {
  return {
    topic: name,
    numPartitions: partitions,
    replicationFactor: replicas,
    configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
  }
}

const complete = (meta: TopicMeta | null | undefined): boolean =>
  meta !== null && meta !== undefined && meta.leaders.length > 0 && meta.leaders.every((leader) => leader !== null)
