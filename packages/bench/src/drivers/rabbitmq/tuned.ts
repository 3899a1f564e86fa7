import { type Channel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import { every, turn } from '../../clock.ts'
import type { Client, Handle, Place } from '../../compare/client.ts'
import { partitionOf } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'
import { bodyOf, declareQueues, optionsOf, queueOf, workIn } from './wire.ts'

// Publishes that wait for their confirm at once, deliveries that a queue hands out ahead, and how many one acknowledgement covers.
const window = 1000
const prefetch = 1000
const perAck = 100
const ackWithinMs = 5

/** What amqplib and the server give at most with the same guarantee: a window of confirms, acknowledgements of finished prefixes. */
export const tuned: Client = {
  name: 'tuned',
  promise: 'at least once',
  how: `${window} confirms in flight, persistent, mandatory; prefetch ${prefetch}, one ack per ${perAck} or ${ackWithinMs} ms after the handlers`,
  messages: 30_000,
  async open(place) {
    const connection = await connect(place.url, { noDelay: true })
    const channel = await connection.createConfirmChannel()
    const notes: string[] = []
    // The confirm of a message that reached no queue is positive: whoever does not listen here loses it.
    channel.on('return', () => notes.push('a message reached no queue'))
    const publish = publisher(channel, place)
    return {
      notes,
      declare: () => declareQueues(channel, place, place.partitions),
      sendAll: (count, make) => sendAll(publish, count, make),
      send: (work) => new Promise<void>((resolve, reject) => publish(work, (error) => (error ? reject(error) : resolve()))),
      consume: (handle, group) => consume(place, handle, group),
      close: () => connection.close(),
    }
  },
}

type Publish = (work: Work, confirmed: (error: unknown) => void) => void

function publisher(channel: ConfirmChannel, { topic, keyed, partitions }: Place): Publish {
  return (work, confirmed) => {
    const routingKey = keyed ? String(partitionOf(work.user, partitions)) : ''
    channel.publish(topic, routingKey, bodyOf(work), optionsOf(topic, work, keyed), confirmed)
  }
}

/** Fills the window again in a turn of its own, not inside the callback of a confirm. */
function sendAll(publish: Publish, count: number, make: (n: number) => Work): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0
    let open = 0
    let filling = false
    const confirmed = (error: unknown): void => {
      open--
      if (error) reject(error)
      else if (next >= count && open === 0) resolve()
      else if (!filling && next < count) {
        filling = true
        void turn().then(fill)
      }
    }
    function fill(): void {
      filling = false
      for (; open < window && next < count; next++) {
        open++
        publish(make(next), confirmed)
      }
    }
    if (count === 0) resolve()
    else fill()
  })
}

async function consume(place: Place, handle: Handle, group: string) {
  const connection = await connect(place.url, { noDelay: true })
  const queues = await Promise.all(
    Array.from({ length: place.partitions }, async (_, p) =>
      consumeQueue(await connection.createChannel(), queueOf(place, p, group), handle),
    ),
  )
  return {
    async close() {
      await Promise.all(queues.map((queue) => queue.close()))
      await connection.close()
    },
  }
}

// One after the other, so that the order of keys is kept and what is finished is always a prefix.
async function consumeQueue(channel: Channel, queue: string, handle: Handle) {
  let finished: ConsumeMessage | undefined
  let since = 0
  let busy: Promise<void> | undefined
  let closing = false
  const waiting: ConsumeMessage[] = []
  function ack(): void {
    if (finished !== undefined) channel.ack(finished, true)
    finished = undefined
    since = 0
  }
  function done(message: ConsumeMessage): void {
    finished = message
    if (++since >= perAck) ack()
  }
  async function drain(first: Promise<void>, message: ConsumeMessage): Promise<void> {
    await first
    done(message)
    for (let next = waiting.shift(); next !== undefined && !closing; next = waiting.shift()) {
      await handle(workIn(next.content))
      done(next)
    }
    busy = undefined
  }
  await channel.prefetch(prefetch)
  await channel.consume(queue, (message) => {
    if (message === null || closing) return
    if (busy !== undefined) return void waiting.push(message)
    const result = handle(workIn(message.content))
    if (result instanceof Promise) busy = drain(result, message)
    else done(message)
  })
  const stop = every(ackWithinMs, ack)
  return {
    async close() {
      closing = true
      await busy
      stop()
      ack()
      await channel.close()
    },
  }
}
