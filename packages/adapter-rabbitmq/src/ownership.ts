// Who owns which partition of a group. The server makes one of a queue's consumers active and does not say which, and the first one
// stays so for ever. So members agree among themselves: whoever consumes a partition holds its lock, a queue that belongs to one
// connection and ends with it; members are counted, and nobody keeps more than his share. The single active consumer stays the
// fence behind it: a successor is given nothing before the server has taken everything back from his predecessor.

import { setMaxListeners } from 'node:events'
import type { AdapterContext } from '@posthorn/core/adapter'
import type { Channel } from 'amqplib'
import type { Link, Wire } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { explain } from './explain.ts'
import * as layout from './layout.ts'
import type { Locks } from './locks.ts'
import type { QueueReader } from './queue-reader.ts'
import type { Topology } from './topology.ts'

export interface OwnershipOptions {
  readonly link: Link
  readonly topology: Topology
  readonly locks: Locks
  readonly context: AdapterContext
  readonly topic: string
  readonly group: string
  /** The queue of each partition. */
  readonly queues: readonly string[]
  readonly everyMs: number
  /** How long a hand-over may take, in milliseconds. */
  readonly handOverMs: number
  /** This member owns a partition now: consume it. */
  take(partition: number): QueueReader
}

export interface Ownership {
  /** Resolves when this member is counted and consumes what was free; rejects when the server refuses it. */
  readonly accepted: Promise<void>
  /** Takes no more, and is not counted any more. What is owned goes back as its readers end. */
  stop(): void
}

const retryMs = 500
const togetherMs = 100
const shortTimes = 4

/** Takes part until stopped, through lost connections and deleted queues. */
export function startOwnership(options: OwnershipOptions): Ownership {
  const { link, topology, locks, context, topic, queues } = options
  const { clock, random } = context
  const members = layout.membersQueue(topic, options.group)
  const stopped = new AbortController()
  setMaxListeners(0, stopped.signal)
  const owned = new Map<number, QueueReader>()
  /** The lock by which this member may own one more than others. */
  let extra: { readonly name: string; readonly turn: number } | null = null
  let wakeUp: () => void = () => {}
  let accept: () => void = () => {}
  let refuse: (error: unknown) => void = () => {}
  const accepted = new Promise<void>((resolve, reject) => {
    accept = resolve
    refuse = reject
  })
  accepted.catch(() => {})

  async function takePart(): Promise<void> {
    const wire = await link.ready(stopped.signal)
    await topology.restore(topic, stopped.signal).catch(() => {})
    let over: () => void = () => {}
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })
    const opening = openChannel(wire, false, () => over())
    opening.then((late) => stopped.signal.aborted && close(late)).catch(() => {})
    const channel = await unlessLost(wire, stopped.signal, opening)
    // The locks ended with the connection, so others may own these partitions now.
    const drop = (): void => {
      for (const reader of owned.values()) reader.stop()
      owned.clear()
      extra = null
    }
    wire.lost.addEventListener('abort', drop, { once: true })
    try {
      await unlessLost(wire, stopped.signal, join(channel, over))
      await Promise.race([ended, balance(wire, channel)])
    } finally {
      close(channel)
    }
  }

  async function join(channel: Channel, over: () => void): Promise<void> {
    await channel.assertQueue(members, { durable: true, arguments: layout.quorum })
    await channel.prefetch(1)
    await channel.consume(members, (message) => {
      // Nobody has to write here; whoever does is not answered.
      if (message === null) over()
      else channel.ack(message)
    })
  }

  async function balance(wire: Wire, channel: Channel): Promise<void> {
    // Those who start together are counted together: nobody takes what another one will ask for at once.
    await pause(togetherMs)
    for (;;) {
      if (stopped.signal.aborted || wire.lost.aborted) return
      const short = await step(wire, channel)
      if (stopped.signal.aborted || wire.lost.aborted) return
      // What is missing is being handed over: nobody handles it meanwhile, so it is looked for more often.
      await pause((short ? options.everyMs / shortTimes : options.everyMs) * (0.75 + random() / 2))
      if (stopped.signal.aborted || wire.lost.aborted) return
    }
  }

  /** true: this member owns less than its share. */
  async function step(wire: Wire, channel: Channel): Promise<boolean> {
    const { consumerCount } = await channel.checkQueue(members)
    const gone = (): boolean => stopped.signal.aborted || wire.lost.aborted
    if (gone()) return false
    const count = Math.max(1, consumerCount)
    const share = Math.floor(queues.length / count)
    const over = queues.length % count
    const staying = [...owned.values()].filter((reader) => !reader.stopped)
    const most = share + ((await mayHaveMore(over, staying.length > share)) ? 1 : 0)
    if (gone()) return false
    for (const reader of staying.slice(most)) {
      reader.assignment?.leave(options.handOverMs)
      reader.stop()
    }
    // Each begins elsewhere, so that members who start together do not ask for the same ones.
    const from = Math.floor(random() * queues.length)
    let have = staying.length
    for (let turn = 0; turn < queues.length && have <= share; turn++) {
      const partition = (from + turn) % queues.length
      if (owned.has(partition)) continue
      const { consumerCount: taken } = await channel.checkQueue(queues[partition] as string)
      if (taken > 0 || gone()) continue
      if (have === share && !(await mayHaveMore(over, true))) break
      if (!(await locks.take(lockOf(partition), stopped.signal))) continue
      if (gone()) {
        await locks.free(lockOf(partition))
        return false
      }
      have++
      take(partition)
    }
    if (extra !== null && [...owned.values()].filter((reader) => !reader.stopped).length <= share) await giveUpExtra()
    await Promise.all([...owned.values()].map((reader) => reader.accepted))
    accept()
    return have < share
  }

  function take(partition: number): void {
    const reader = options.take(partition)
    owned.set(partition, reader)
    void reader.done.then(() => {
      if (owned.get(partition) !== reader) return
      owned.delete(partition)
      void locks.free(lockOf(partition))
      wakeUp()
    })
  }

  /** What does not divide evenly goes to as many members as there are such partitions: one each. */
  async function mayHaveMore(over: number, wanted: boolean): Promise<boolean> {
    if (extra !== null && extra.turn < over) return true
    if (extra !== null) await giveUpExtra()
    if (!wanted) return false
    for (let turn = 0; turn < over; turn++) {
      const name = layout.extraQueue(topic, options.group, turn)
      if (await locks.take(name, stopped.signal)) {
        extra = { name, turn }
        return true
      }
    }
    return false
  }

  async function giveUpExtra(): Promise<void> {
    const { name } = extra as { name: string }
    extra = null
    await locks.free(name)
  }

  const lockOf = (partition: number): string => layout.ownerQueue(queues[partition] as string)

  function close(channel: Channel): void {
    try {
      channel.close().catch(() => {})
    } catch {
      // It has ended already.
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        stopped.signal.removeEventListener('abort', end)
        resolve()
      }
      const cancel = clock.timer(ms, end)
      stopped.signal.addEventListener('abort', end, { once: true })
      wakeUp = end
      if (stopped.signal.aborted) end()
    })
  }

  void (async () => {
    for (let tries = 0; !stopped.signal.aborted; ) {
      try {
        await takePart()
        tries = 0
      } catch (error) {
        const { code } = explain(error)
        if (code === 'NOT_FOUND') topology.doubt(topic)
        const again = code === 'UNAVAILABLE' || code === 'TIMED_OUT' || code === 'INTERNAL' || (code === 'NOT_FOUND' && ++tries < 3)
        if (!again) refuse(error)
      }
      await pause(retryMs * (1 + random() / 2))
    }
    if (extra !== null) await giveUpExtra()
    refuse(new Error('the subscription was given up'))
  })()
  return { accepted, stop: () => stopped.abort() }
}
