// Sharing the partitions of a topic: a queue with a single active consumer stays with the first one for ever, so members count
// each other and give up what they own above their share.

import type { AdapterContext } from '@posthorn/core/adapter'
import type { Channel } from 'amqplib'
import type { Link } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { quorum } from './layout.ts'

export interface BalanceOptions {
  readonly link: Link
  readonly context: AdapterContext
  /** Always empty, consumed by every member: its consumers are the members. */
  readonly queue: string
  readonly everyMs: number
  /** So many members are there; give up what is above the share. */
  share(members: number): void
}

export interface Balance {
  /** Resolves when this member is counted for the first time; rejects when the server refuses it. */
  readonly counted: Promise<void>
  stop(): void
}

const retryMs = 500

/** Takes part in the count until stopped, through lost connections and deleted queues. */
export function startBalance({ link, context, queue, everyMs, share }: BalanceOptions): Balance {
  const { clock, random } = context
  const stopped = new AbortController()

  async function takePart(counted: () => void): Promise<void> {
    const wire = await link.ready(stopped.signal)
    let over: () => void = () => {}
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })
    const channel = await unlessLost(wire, stopped.signal, openChannel(wire, false, () => over()))
    try {
      await unlessLost(wire, stopped.signal, join(channel, over))
      counted()
      await Promise.race([ended, count(channel)])
    } finally {
      close(channel)
    }
  }

  async function join(channel: Channel, over: () => void): Promise<void> {
    await channel.assertQueue(queue, { durable: true, arguments: quorum })
    await channel.prefetch(1)
    await channel.consume(queue, (message) => {
      if (message === null) over()
      // Nobody has to write here; whoever does is not answered.
      else channel.ack(message)
    })
  }

  async function count(channel: Channel): Promise<void> {
    for (;;) {
      await pause(everyMs * (0.75 + random() / 2))
      if (stopped.signal.aborted) return
      const { consumerCount } = await channel.checkQueue(queue)
      if (!stopped.signal.aborted) share(Math.max(1, consumerCount))
    }
  }

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
      if (stopped.signal.aborted) end()
    })
  }

  const counted = new Promise<void>((resolve, reject) => {
    void (async () => {
      while (!stopped.signal.aborted) {
        try {
          await takePart(resolve)
        } catch (error) {
          if (link.wire !== null) reject(error)
        }
        await pause(retryMs)
      }
      reject(new Error('the subscription was given up'))
    })()
  })
  counted.catch(() => {})
  return { counted, stop: () => stopped.abort() }
}
