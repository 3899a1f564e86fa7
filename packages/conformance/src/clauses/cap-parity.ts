import { tmpdir } from 'node:os'
import { type Broker, connect, deadLetter, drop, type Message, postpone, retry } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import type { Clause } from '../clause.ts'
import { type Order, type OrderTopic, order } from '../orders.ts'
import type { Recorder } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { memoryIsHonest } from './cap-memory.ts'
import { goldenLog, playShop } from './cap-scenario.ts'
import { utf8 } from './stored.ts'
import { deadLettersOf } from './support.ts'

// ── CAP-3 ──

/** Delays, with every client killed while all of them wait. */
async function delaysOutliveClients(t: Trial): Promise<void> {
  const topic = t.topic('delayed')
  const early = t.recorder('before the kill')
  const sender = await t.connect()
  const killed = [await t.member({ topic, recorder: early }), await t.member({ topic, recorder: early })]
  const orders = t.orders(t.size(20), { keys: 10 })
  const sentAt = t.now()
  await t.send(sender, topic, orders, { delayMs: 5000, headers: { colour: 'blue' } })
  await t.pass(2500)
  t.struck('delayed messages', orders.length - early.starts.length)
  t.equal(early.starts.length, 0, 'starts half-way to the due time')
  for (const member of killed) member.kill()
  await sender.close()

  const seen = t.recorder('after the kill')
  const spoiled: string[] = []
  const broker = await t.connect()
  await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler((message: Message<Order>) => {
      if (message.headers['colour'] !== 'blue' || message.key !== message.value.key || message.id !== message.value.id)
        spoiled.push(message.id)
    }),
  )
  await t.until('all delayed messages are handled', () => seen.finished === orders.length, {
    withinMs: 5000 + t.takeoverMs + t.recoverMs,
    seen: () => seen.finished,
  })
  seen.each(orders)
  t.atMost(seen.repeats, orders.length, 'repeats')
  const soonest = Math.min(...seen.starts.map(({ at }) => at))
  t.atLeast(soonest - sentAt, 5000, 'milliseconds from send to the first start')
  t.equal(spoiled, [], 'messages whose id, key or header changed on the way')
}

/** Parked retries, with every client killed while all of them wait. */
async function parkingOutlivesClients(t: Trial): Promise<void> {
  const topic = t.topic('parked', { keyed: false })
  const first = t.recorder('before the kill')
  const script = { topic, recorder: first, acts: [{ when: { attempts: 1 }, then: { retry: 31_000 } }] }
  const sender = await t.connect()
  const killed = [await t.member(script), await t.member(script)]
  const orders = t.orders(t.size(20), { keyNames: ['none'] })
  const sentAt = t.now()
  await t.send(sender, topic, orders)
  await t.until('all are parked', () => t.events('parked').length >= orders.length, { seen: () => t.events('parked').length })
  t.struck('parked copies', orders.length - first.done)
  for (const member of killed) member.kill()

  const seen = t.recorder('after the kill')
  const broker = await t.connect()
  await broker.consume(topic, t.consumeOptions(), seen.handler())
  await t.until('all parked messages are handled', () => seen.finished === orders.length, {
    withinMs: 45_000 + t.takeoverMs,
    seen: () => seen.finished,
  })
  seen.each(orders)
  t.atMost(seen.repeats, orders.length, 'repeats')
  const soonest = Math.min(...seen.starts.filter(({ attempt }) => attempt === 2).map(({ at }) => at))
  t.atLeast(soonest - sentAt, 31_000, 'milliseconds until the first parked message came back')
  // What was settled after it was parked comes as attempt 2. What the kill kept from being settled comes as 1 at once, and its copy
  // may then be recognised as finished.
  const lost = orders.filter((each) => seen.of(each).every(({ attempt, at }) => attempt === 1 && at - sentAt >= 31_000))
  t.equal(
    lost.map(({ id }) => id),
    [],
    'parked messages whose count of attempts was lost',
  )
}

// ── CAP-6 ──

/** One script, and what must come of it on every adapter: starts with their attempts and ends, and what is left. */
const golden: Readonly<Record<string, string>> = {
  done: '1 done',
  throw: '1 threw, 2 threw, 3 threw, dead: failed after 3',
  retry: '1 decided, 2 done',
  postpone: '1 decided, 1 done',
  deadLetter: '1 decided, dead: wrong after 1',
  drop: '1 decided',
  undecodable: 'dead: undecodable after 0',
  cut: '1 done',
  close: '1 done',
  never: '1 lost, 1 done',
}

/** Plays the script on a topic of its own; answers the log of it. */
async function playScript(t: Trial, name: string): Promise<Readonly<Record<string, string>>> {
  const topic = t.topic(name)
  const seen = t.recorder(name)
  const names = new Map<string, string>()
  const say = (what: string): Order => {
    const made = order(`${name}-${what}`, what, 0)
    names.set(made.id, what)
    return made
  }
  const played = new Set<string>()
  const hold = t.gate()
  const broker = await t.connect()
  const handler = seen.handler((message: Message<Order>) => act(message, played, () => hold.wait()))
  await broker.consume(topic, t.consumeOptions(), handler)
  await t.send(broker, topic, ['done', 'throw', 'retry', 'postpone', 'deadLetter', 'drop'].map(say))
  await t.auditor.write(topic.name, { body: utf8('not-json{') })
  await t.settled(topic, 'workers', 20_000)

  await t.send(broker, topic, [say('cut')])
  await t.until('the handler runs', () => seen.running === 1)
  t.link(broker).cut()
  hold.open()
  await t.settled(topic, 'workers', 20_000 + t.takeoverMs)
  await broker.close()

  const second = await t.connect()
  await second.consume(
    topic,
    t.consumeOptions(),
    seen.handler(() => t.sleep(300)),
  )
  await t.send(second, topic, [say('close')])
  await t.until('the handler runs', () => seen.running === 1)
  await second.close({ drainMs: 5000 })

  const third = await t.connect()
  await third.consume(
    topic,
    t.consumeOptions(),
    seen.handler(() => new Promise(() => {})),
  )
  await t.send(third, topic, [say('never')])
  await t.until('the handler runs', () => seen.running === 1)
  await third.close({ drainMs: 200 })
  for (const start of seen.starts) if (start.end === 'open') seen.end(start, 'lost')

  const last = await t.connect()
  await last.consume(topic, t.consumeOptions(), seen.handler())
  await t.settled(topic, 'workers', 5000 + t.takeoverMs)
  const log = await logOf(last, topic, seen, names)
  await last.close()
  return log
}

async function act(message: Message<Order>, played: Set<string>, hold: () => Promise<void>): Promise<ReturnType<typeof drop> | void> {
  const { key: what } = message
  const again = played.has(message.id)
  played.add(message.id)
  if (what === 'throw') throw new Error('fails')
  if (what === 'retry' && !again) return retry({ afterMs: 50 })
  if (what === 'postpone' && !again) return postpone({ afterMs: 50 })
  if (what === 'deadLetter') return deadLetter('wrong')
  if (what === 'drop') return drop('old')
  if (what === 'cut') await hold()
}

async function logOf(
  broker: Broker,
  topic: OrderTopic,
  seen: Recorder,
  names: ReadonlyMap<string, string>,
): Promise<Readonly<Record<string, string>>> {
  const log: Record<string, string[]> = {}
  const write = (name: string, line: string): void => {
    log[name] = [...(log[name] ?? []), line]
  }
  for (const start of seen.starts) write(names.get(start.id) ?? start.id, `${start.attempt} ${start.end}`)
  for (const letter of await deadLettersOf(broker, topic)) {
    write(names.get(letter.id) ?? 'undecodable', `dead: ${letter.reason} after ${letter.attempts}`)
  }
  return Object.fromEntries(Object.entries(log).map(([name, lines]) => [name, lines.join(', ')]))
}

// ── CAP-7 ──

async function oneApplication(t: Trial): Promise<void> {
  if (!/^(?:memory|kafka|amqps?|rediss?|mqtts?):/.test(t.server.address))
    t.notProven('no URL scheme names this adapter, so no configuration can')
  const broker = await t.connect()
  t.equal(await playShop(t, broker, t.name('shop')), goldenLog, 'the event log of the application on this adapter')

  // The same application, and nothing but the environment says where it runs.
  const env = { POSTHORN_BROKER: t.server.address }
  const log = await t.real(
    (async () => {
      const configured = await connect(await loadConfig(undefined, { cwd: tmpdir(), env }), { log: false })
      try {
        return await playShop(undefined, configured, t.name('configured'))
      } finally {
        await configured.close()
      }
    })(),
  )
  t.equal(log, goldenLog, 'the event log of the application on the broker that the environment names')
}

/** CAP-3, CAP-6, CAP-7 and CAP-11. */
export const capParity: readonly Clause[] = [
  {
    id: 'CAP-3',
    title: 'What core makes up for is as good as native',
    needs: 'memory',
    async run(t) {
      await delaysOutliveClients(t)
      await parkingOutlivesClients(t)
    },
  },
  {
    id: 'CAP-6',
    title: 'Memory and broker give the same answers',
    needs: 'memory',
    async run(t) {
      t.equal(await playScript(t, 'script'), golden, 'the event log of the script')
    },
  },
  { id: 'CAP-7', title: 'One application, one event log', needs: 'memory', run: oneApplication },
  {
    id: 'CAP-11',
    title: 'The memory adapter is not kinder than a broker',
    needs: 'memory',
    async run(t) {
      if (!t.virtual) t.notProven('is about the embedded broker')
      await memoryIsHonest(t)
      for (let seed = 0; seed < 20; seed++) t.equal(await playScript(t, `script-${seed}`), golden, `the event log of round ${seed}`)
    },
  },
]
