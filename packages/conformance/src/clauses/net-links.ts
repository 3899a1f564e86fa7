// Links that break, fall silent, are slow, narrow or never last.

import type { Clause } from '../clause.ts'
import type { Trial } from '../trial.ts'
import { type Carried, carriedOver, heartbeatMs } from './carried.ts'
import { netBytes } from './net-bytes.ts'
import { hangingHostIsSkipped } from './net-hosts.ts'

/** Everyone notices that its link is dead, by default within two heartbeats; what it owned is lost then. */
async function noticed(t: Trial, { all, consumers, again }: Carried, since: number, withinMs = 2 * heartbeatMs): Promise<void> {
  await t.until('every client has noticed', () => all.every((broker) => broker.status === 'recovering'), {
    withinMs: withinMs + 100 - (t.now() - since),
    seen: () => all.map((broker) => broker.status),
  })
  // Until then handlers went on, and their settlements went nowhere.
  again()
  await t.until('reads have returned and nothing is owned', () => consumers.every((broker) => t.calls(broker).assignments.length === 0), {
    withinMs: t.leaseMs,
    seen: () => consumers.map((broker) => t.calls(broker).assignments.length),
  })
}

/** NET-1 to NET-7, NET-14 to NET-16. */
export const netLinks: readonly Clause[] = [
  {
    id: 'NET-1',
    title: 'Cuts heal',
    needs: 'memory',
    async run(t) {
      await carriedOver(t, 'cut', {}, async (carried) => {
        for (let n = 0; n < 3; n++) {
          await t.until('a publish is on its way', () => t.link(carried.producer).open('publish') > 0, 1000)
          await carried.strikes('messages on their way')
          for (const broker of carried.all) t.link(broker).cut()
          await t.until(
            'everyone is connected again',
            () => carried.all.every((broker) => t.link(broker).connected && broker.status === 'connected'),
            { withinMs: t.recoverMs, seen: () => carried.all.map((broker) => broker.status) },
          )
          await t.until(
            'it flows again',
            () => carried.seen.starts.at(-1) !== undefined && t.now() - (carried.seen.starts.at(-1)?.at ?? 0) < 50,
            t.recoverMs,
          )
          await t.pass(1000)
        }
      })
    },
  },
  {
    id: 'NET-2',
    title: 'Half-open links are noticed',
    needs: 'memory',
    async run(t) {
      await carriedOver(t, 'half-open', {}, async (carried) => {
        await carried.strikes('messages on their way')
        const since = t.now()
        for (const broker of carried.all) t.link(broker).silence('both')
        await noticed(t, carried, since)
        await t.pass(10_000 - (t.now() - since))
        for (const broker of carried.all) t.link(broker).heal()
      })
    },
  },
  {
    id: 'NET-3',
    title: 'One-way silence is noticed',
    needs: 'memory',
    async run(t) {
      for (const direction of ['up', 'down'] as const) {
        await carriedOver(t, direction, {}, async (carried) => {
          await carried.strikes('messages on their way')
          const since = t.now()
          for (const broker of carried.all) t.link(broker).silence(direction)
          // Where one way is open the other end has to notice first.
          await noticed(t, carried, since, 4 * heartbeatMs)
          await t.pass(10_000 - (t.now() - since))
          const early = t.sends.filter((send) => send.topic === carried.topic.name && send.at >= since && send.at < since + 500)
          t.atLeast(early.length, 10, 'sends into the silence')
          t.equal(early.filter((send) => send.outcome === 'stored').length, 0, 'sends into the silence that claim to be stored')
          // Whatever left this process may have arrived.
          const left = early.filter(
            (send) => send.outcome === 'failed' && send.error?.code !== 'UNAVAILABLE' && send.error?.code !== 'TIMED_OUT',
          )
          t.equal(left.length, 0, 'sends into the silence with another end than a lost server')
          if (direction === 'down') {
            // Those that were on their way when it fell silent count as well: behind them later ones may have waited here.
            const late = t.sends.filter(
              (send) =>
                send.topic === carried.topic.name && send.at < since + 500 && (send.endedAt === undefined || send.endedAt > since + 500),
            )
            t.atLeast(late.filter((send) => send.outcome !== 'failed').length, 1, 'sends whose reply was lost')
          }
          for (const broker of carried.all) t.link(broker).heal()
        })
      }
    },
  },
  {
    id: 'NET-4',
    title: 'Slow is not broken',
    needs: 'memory',
    async run(t) {
      for (const [name, latencyMs, jitterMs] of [
        ['slow', 200, 100],
        ['slower', 2000, 0],
      ] as const) {
        // Of a key one publish at a time is on its way: a send may wait for the one before it, so for two round trips.
        await carriedOver(t, name, { quiet: true, timeoutMs: 30_000 }, async (carried) => {
          await carried.strikes('messages on their way')
          const statuses = t.events('status').length
          for (const broker of carried.all) t.link(broker).delay(latencyMs, jitterMs)
          await t.pass(20_000)
          t.equal(t.events('status').length, statuses, `changes of status at ${latencyMs} ± ${jitterMs} ms each way`)
          t.equal(t.events('settle-unknown').length, 0, `settlements without an answer at ${latencyMs} ± ${jitterMs} ms each way`)
          t.equal(t.events('lost').length, 0, `assignments lost at ${latencyMs} ± ${jitterMs} ms each way`)
          const ended = t.sends.filter((send) => send.topic === carried.topic.name && send.outcome !== 'stored' && send.outcome !== 'open')
          t.equal(ended.length, 0, `sends that failed at ${latencyMs} ± ${jitterMs} ms each way`)
          for (const broker of carried.all) t.link(broker).heal()
        })
      }
    },
  },
  {
    id: 'NET-5',
    title: 'Narrow is not broken',
    needs: 'memory',
    async run(t) {
      await carriedOver(t, 'narrow', { quiet: true, everyMs: 2500, most: 16, bytes: 64_000, timeoutMs: 30_000 }, async (carried) => {
        const statuses = t.events('status').length
        const connects = carried.all.map((broker) => t.link(broker).connects().length)
        for (const broker of carried.all) t.link(broker).throttle(65_536)
        await t.until('a message is on its way', () => t.link(carried.producer).open('publish') > 0, 10_000)
        await carried.strikes('messages on their way')
        await t.pass(30_000)
        t.equal(t.events('status').length, statuses, 'changes of status at 64 KiB/s')
        t.equal(
          carried.all.map((broker) => t.link(broker).connects().length),
          connects,
          'connections made',
        )
        for (const broker of carried.all) t.link(broker).heal()
      })
    },
  },
  {
    id: 'NET-6',
    title: 'Flapping still progresses',
    needs: 'memory',
    async run(t) {
      await carriedOver(t, 'flapping', { timeoutMs: 15_000 }, async (carried) => {
        await carried.strikes('messages on their way')
        const from = t.now()
        const until = from + 20_000
        let cuts = 0
        const flap = async (broker: Carried['producer']): Promise<void> => {
          while (t.now() < until) {
            await t.until('it is connected', () => t.link(broker).connected, t.recoverMs)
            await t.sleep(500 + t.random() * 1000)
            carried.again()
            t.link(broker).cut()
            cuts++
          }
        }
        await Promise.all(carried.all.map(flap))
        t.atLeast(cuts, 20, 'cuts')
        for (let at = from; at < until; at += 10_000) {
          t.atLeast(
            carried.seen.starts.filter((start) => start.at >= at && start.at < at + 10_000 && start.end === 'done').length,
            1,
            'messages handled in 10 s of flapping',
          )
        }
      })
    },
  },
  netBytes.anyCut,
  {
    id: 'NET-14',
    title: 'Reconnecting is polite',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const clients = await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const broker = await t.connect({ jitter: 'free' })
          if (index % 2 === 0) await broker.consume(topic, t.consumeOptions(), () => {})
          else await broker.declare(topic)
          return broker
        }),
      )
      // A client may have several connections, each of which is made again.
      const sockets = clients.map((broker) => t.link(broker).connects().length)
      // Who owns what may be another one afterwards, where owning takes connections.
      const most = sockets.map((count, index) => (index % 2 === 0 ? Math.max(count, 1 + (t.server.connectionsPerConsumer ?? 0)) : count))
      await t.crash('SIGTERM')
      const since = t.now()
      await t.pass(20_000)
      const tries = clients.map((broker) =>
        t
          .link(broker)
          .connects()
          .filter((at) => at >= since),
      )
      const all = tries.flat()
      t.atLeast(all.length, clients.length * 3, 'tries to connect in 20 s')
      for (const [index, times] of tries.entries()) {
        for (const at of times)
          t.atMost(
            times.filter((other) => other >= at && other < at + 1000).length,
            2 * (sockets[index] ?? 1),
            `tries of client ${index} within one second`,
          )
        // Of several connections of one client nobody can tell which tried: they are judged together, below.
        if (sockets[index] !== 1) continue
        const gaps = times.map((at, n) => at - (n === 0 ? since : (times[n - 1] ?? since)))
        t.atLeast(Math.max(...gaps.slice(2)), 1.5 * (gaps[0] ?? 0), `later gaps of client ${index} against its first`)
      }
      // From the first try on: a server takes its time to end.
      const first = Math.min(...all)
      if (sockets.some((count) => count !== 1))
        t.atMost(
          all.filter((at) => at >= since + 15_000).length,
          all.filter((at) => at < first + 5000).length,
          'tries of all clients in the last 5 s against the first',
        )
      for (let at = since; at < since + 20_000; at += 100) {
        t.atMost(all.filter((time) => time >= at && time < at + 1000).length, 0.3 * all.length, 'tries of all clients within one second')
      }
      const seconds = new Set(all.map((at) => Math.round(at - since)))
      t.atLeast(seconds.size, all.length / 2, 'different moments of tries')
      await t.restart()
      const up = t.now()
      await t.until('everyone is back', () => clients.every((broker) => broker.status === 'connected'), {
        withinMs: t.recoverMs,
        seen: () => clients.map((broker) => broker.status),
      })
      for (const [index, broker] of clients.entries())
        t.atMost(
          t
            .link(broker)
            .connects()
            .filter((at) => at >= up).length,
          2 * (most[index] ?? 1),
          'tries of one client after the server was back',
        )
    },
  },
  { id: 'NET-15', title: 'A hanging first host is skipped', needs: 'network', run: hangingHostIsSkipped },
  {
    id: 'NET-16',
    title: 'Idle links survive',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const seen = t.recorder()
      const producer = await t.connect()
      const consumer = await t.connect()
      await consumer.consume(topic, t.consumeOptions(), seen.handler())
      const [first, second] = [t.orders(1), t.orders(1)]
      await t.send(producer, topic, first)
      await t.until('it works', () => seen.finished === 1)
      for (const [who, broker] of [
        ['producer', producer],
        ['consumer', consumer],
      ] as const) {
        const orders = who === 'producer' ? second : t.orders(1)
        await t.pass(20_000)
        // What lies between forgets the link: what it carries is lost without a word, while a new one would be let through.
        const link = t.link(broker)
        const before = link.connects().length
        link.silence('both')
        const since = t.now()
        const sending = t.send(producer, topic, orders)
        await t.until(`the ${who} connects anew`, () => broker.status === 'recovering', {
          withinMs: 2 * heartbeatMs + 100,
          seen: () => broker.status,
        })
        // The end of the old connection gets through to where it was held, or what was written into the void is let out of it.
        await t.pass(100)
        link.heal()
        await sending
        await t.until(
          `the first message after the idle time is handled (${who})`,
          () => orders.every((order) => seen.of(order).length > 0),
          {
            withinMs: 2 * heartbeatMs + t.recoverMs - (t.now() - since),
            seen: () => broker.status,
          },
        )
        t.note(`${t.now() - since} ms after the ${who} was idle`)
        await t.until(`the ${who} made a new connection`, () => link.connects().length > before, { withinMs: 1000 })
      }
      await t.fence(producer, topic, seen)
      t.equal(seen.repeats, 0, 'repeats')
    },
  },
]
