// What only a link that carries bytes can suffer: frames in pieces, damaged and cut short.

import type { Clause } from '../clause.ts'
import { later } from '../clock.ts'
import type { Trial } from '../trial.ts'
import { carriedOver } from './carried.ts'
import { nothingLost } from './figures.ts'

/** NET-7 */
async function anyCut(t: Trial): Promise<void> {
  await carriedOver(t, 'one-byte', { quiet: true, everyMs: 50, latencyMs: 0, timeoutMs: 20_000 }, async (carried) => {
    for (const broker of carried.all) t.wire(broker).slices(1)
    const before = carried.seen.finished
    await t.pass(4000)
    const underWay = (): number => carried.all.reduce((sum, broker) => sum + t.link(broker).open(), carried.seen.running)
    let struck = 0
    await t.until('something is on its way in pieces', () => {
      struck = underWay()
      return struck > 0
    })
    t.struck('requests in pieces of one byte', struck)
    t.atLeast(carried.seen.finished - before, 5, 'messages handled while every frame came in pieces of one byte')
    for (const broker of carried.all) t.wire(broker).slices(null)
  })
  // Lumps: what was held back for a while comes at once, small frames and megabytes together.
  const bytes = Math.min(1_000_000, Math.floor(t.capabilities.limits.messageBytes / 2))
  await carriedOver(t, 'lumps', { quiet: true, everyMs: 250, most: 24, bytes, latencyMs: 0, timeoutMs: 20_000 }, async (carried) => {
    for (let round = 0; round < 4; round++) {
      for (const broker of carried.all) t.link(broker).delay(400)
      await t.pass(500)
      if (round === 0) await carried.strikes('requests of a megabyte')
      for (const broker of carried.all) t.link(broker).heal()
      await t.pass(500)
    }
  })
}

/** BAD-8 */
async function brokenFrames(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const [sender, receiver] = [await t.connect({ jitter: 'free' }), await t.connect({ jitter: 'free' })]
  const seen = t.recorder()
  await receiver.consume(
    topic,
    t.consumeOptions(),
    seen.handler(() => t.sleep(2)),
  )
  const load = t.load(sender, topic, { everyMs: 10 })
  await t.until('messages flow', () => seen.finished > 20)
  let struck = 0
  const connected = (): number => t.link(sender).connects().length + t.link(receiver).connects().length
  for (let round = 0; round < t.rounds(20, 10); round++) {
    const before = connected()
    struck += t.link(sender).open() + seen.running
    if (round % 4 === 0) t.wire(receiver).corrupt(4)
    else if (round % 4 === 1) t.wire(sender).corrupt(4)
    else if (round % 4 === 2) t.wire(sender).cutAfter('publish', 3)
    else t.wire(receiver).cutAfter('settle', 3)
    await t.until('the connection is made anew', () => connected() > before, {
      withinMs: 2 * t.recoverMs,
      seen: () => ({ round, sender: sender.status, receiver: receiver.status }),
    })
    const { finished } = seen
    await t.until('messages flow again', () => seen.finished > finished + 5, {
      withinMs: t.takeoverMs + t.recoverMs,
      seen: () => seen.finished,
    })
  }
  t.struck('requests and handlers', struck)
  const stored = await load.stop()
  await t.until('all that was stored is handled', () => stored.every((order) => seen.of(order).some(({ end }) => end === 'done')), {
    withinMs: t.takeoverMs + 20_000,
    seen: () => `${seen.finished} of ${stored.length}`,
  })
  await t.fence(sender, topic, seen)
  // Whole bodies, ids and keys, or nothing: a harmed body is FID-1's.
  nothingLost(t, seen, stored, load.sent)
  const keys = new Map(load.sent.map((order) => [order.id, order.key]))
  for (const start of seen.starts) t.equal(start.key, keys.get(start.id) ?? undefined, `key of ${start.id}`)
}

/** FLOW-11: processor time between two turns of the loop; what other processes take does not count. */
export async function loopStaysFree(t: Trial): Promise<void> {
  const mostMs = 50
  const sender = await t.connect()
  const receiver = await t.connect()
  let longest = 0
  let watching = true
  let last = process.cpuUsage()
  const turn = (): void => {
    const { user, system } = process.cpuUsage(last)
    longest = Math.max(longest, (user + system) / 1000)
    last = process.cpuUsage()
    if (watching) later(turn)
  }
  const run = async (name: string, orders: ReturnType<Trial['orders']>, headers: Readonly<Record<string, string>>): Promise<void> => {
    const topic = t.topic(name)
    const seen = t.recorder(name)
    await sender.declare(topic)
    const consumer = await receiver.consume(topic, t.consumeOptions(), seen.handler())
    // The first of everything is compiled, not judged.
    for (const order of orders.slice(0, 50)) await t.send(sender, topic, [order], { headers })
    await t.until('it is warm', () => seen.finished === Math.min(50, orders.length), { withinMs: 20_000, seen: () => seen.finished })
    longest = 0
    const producer = sender.producer(topic, { timeoutMs: 30_000 })
    const many = (orders[0] as (typeof orders)[number]).pad.length > 10_000 ? 2 : 20
    for (let from = 50; from < orders.length; from += many) {
      await Promise.all(orders.slice(from, from + many).map((order) => producer.send(order, { id: order.id, headers })))
    }
    await t.until('all are handled', () => seen.finished === orders.length, { withinMs: 60_000, seen: () => seen.finished })
    t.atMost(longest, t.slack(mostMs), `longest turn of the event loop with ${name}, in milliseconds of processor time`)
    t.fact(`longest turn with ${name}, ms`, longest)
    seen.exactly(orders)
    await consumer.close()
  }
  later(turn)
  try {
    await run('tiny-messages', t.orders(t.size(10_000)), {})
    await run('many-headers', t.orders(1000), Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`x-header-${n}`, `value ${n}`])))
    await run('large-bodies', t.orders(70, { bytes: Math.min(1_000_000, Math.floor(t.capabilities.limits.messageBytes / 2)) }), {})
  } finally {
    watching = false
  }
}

/** NET-7 and BAD-8. */
export const netBytes: { readonly anyCut: Clause; readonly brokenFrames: Clause } = {
  anyCut: { id: 'NET-7', title: 'Framing is right at any cut', needs: 'network', run: anyCut },
  brokenFrames: {
    id: 'BAD-8',
    title: 'Broken frames end the connection, not the truth',
    needs: 'network',
    run: brokenFrames,
  },
}
