import { deadLetter, retry } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import { when } from '../clause.ts'
import type { Order } from '../orders.ts'
import type { Start } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { attemptsSurvive, crashBetween, crashGuard, parkingLosesNothing, weakerNever, wholeEntries } from './err-copies.ts'
import { attempts, neverSilent, noCrashGuard } from './err-endings.ts'
import { everyFailure, noAttempt, poisonKey, userCode, waitingIsFree } from './err-failures.ts'
import { deadIds, deadLettersOf, failing } from './support.ts'

/** The ERR clauses, in the order of the page: failures, retries, backoff, dead letters. */
export const err: readonly Clause[] = [
  {
    id: 'ERR-1',
    title: 'A throw brings it back, counted',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const gate = t.gate()
      const seen = t.recorder()
      const orders = t.orders(100)
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(async (message) => {
          if (seen.of(message.value).length < 3) throw new Error('on purpose')
          await gate.wait()
        }),
      )
      await t.send(broker, topic, orders)
      await t.until(
        '8 handlers run for the third time',
        () => seen.running === 8 && seen.starts.filter((start) => start.attempt === 3).length >= 8,
        {
          withinMs: 30_000,
          seen: () => seen.running,
        },
      )
      t.equal(await t.auditor.remaining(topic.name, 'workers'), orders.length, 'not settled while none has succeeded')
      gate.open()
      await t.until('all are done', () => seen.finished === orders.length, { withinMs: 30_000, seen: () => seen.finished })
      await t.settled(topic)
      for (const order of orders) t.equal(attempts(seen.of(order)), [1, 2, 3], `attempts of ${order.id}`)
      t.equal(await deadIds(broker, topic), [], 'dead letters')
    },
  },
  { id: 'ERR-2', title: 'Any failure is a failure', needs: 'memory', run: everyFailure },
  {
    id: 'ERR-3',
    title: 'Backoff keeps its times',
    needs: 'memory',
    async run(t) {
      await backoffOf(t, 'flat', { firstDelayMs: 200, factor: 1 }, [200, 200, 200, 200])
      await backoffOf(t, 'doubling', { firstDelayMs: 100, factor: 2, maxDelayMs: 800 }, [100, 200, 400, 800])
    },
  },
  { id: 'ERR-4', title: 'Waiting costs no slot', needs: 'memory', run: waitingIsFree },
  {
    id: 'ERR-5',
    title: 'Waits do not queue behind each other',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { keyed: false })
      const broker = await t.connect()
      const seen = t.recorder()
      const [long, short] = t.orders(2, { keyNames: [] }) as [Order, Order]
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler((message) => {
          if (message.attempt === 1) return retry({ afterMs: message.value.id === long.id ? 3000 : 200 })
        }),
      )
      await t.send(broker, topic, [long])
      await t.until('the long wait has begun', () => seen.of(long).length === 1 && seen.running === 0)
      await t.send(broker, topic, [short])
      await t.until('both are done', () => seen.finished === 2)
      t.equal(
        seen.starts.slice(2).map((start) => start.id),
        [short.id, long.id],
        'order of the second attempts',
      )
    },
  },
  { id: 'ERR-6', title: 'After the last attempt, once to the dead letters', needs: 'memory', run: wholeEntries },
  { id: 'ERR-7', title: 'A crash between dead letter and settle loses nothing', needs: 'memory', run: crashBetween },
  {
    id: 'ERR-8',
    title: 'No dead letter, no settle',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const gate = t.gate()
      const seen = t.recorder()
      const orders = t.orders(5, { keys: 5 })
      await broker.consume(
        topic,
        t.consumeOptions({ retry: false }),
        seen.handler(async () => {
          await gate.wait()
          throw new Error('on purpose')
        }),
      )
      await t.send(broker, topic, orders)
      await t.until('5 handlers run', () => seen.running === 5)
      await t.auditor.deny('publish', topic.name)
      gate.open()
      const refused = (): number => t.events('dead-letter-failed').length
      await t.until(
        'the refusal is reported for each',
        () => new Set(t.events('dead-letter-failed').map(({ event }) => event['id'])).size === 5,
      )
      const soon = refused()
      await t.until('it is tried again', () => refused() >= soon + 5, { withinMs: 60_000, seen: refused })
      t.equal(await t.auditor.remaining(topic.name, 'workers'), 5, 'not settled while the dead letters refuse')
      t.atMost(refused() / 5, 12, 'tries of each while the dead letters refuse')
      await t.auditor.allow()
      await t.settled(topic, 'workers', 60_000)
      t.equal([...(await deadIds(broker, topic))].sort(), orders.map((order) => order.id).sort(), 'dead letters once they are allowed')
      t.equal(seen.starts.length, 5, 'handler starts')
    },
  },
  { id: 'ERR-9', title: 'Shutdown, rebalance and lost links are not attempts', needs: 'memory', run: noAttempt },
  { id: 'ERR-10', title: 'A poison key stops only itself', needs: 'memory', run: poisonKey },
  { id: 'ERR-11', title: 'Copies are never weaker', needs: 'memory', run: weakerNever },
  {
    id: 'ERR-13',
    title: 'A first delivery is attempt 1',
    needs: 'memory',
    gate: (_, profile) => (profile === 'volatile' ? { notProven: 'a volatile server keeps nothing over a restart' } : 'run'),
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect({ jitter: 'free' })
      const orders = t.orders(t.size(1000))
      await t.send(sender, topic, orders)
      t.struck('messages that nobody was given', await t.auditor.remaining(topic.name, 'workers'))
      await t.crash(t.profile === 'durable' ? 'SIGKILL' : 'SIGTERM')
      await t.restart()
      const broker = await t.connect()
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions(), seen.handler())
      await t.until('all are done', () => seen.finished === orders.length, { withinMs: t.recoverMs + 30_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      seen.exactly(orders)
      t.equal(seen.starts.filter((start) => start.attempt !== 1).length, 0, 'starts whose attempt is not 1')
      t.equal(t.events('waiting').length, 0, 'waits for another attempt')
      await givenAndNeverStarted(t)
    },
  },
  {
    id: 'ERR-14',
    title: 'Mass failure loses nothing',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const orders = t.orders(50, { keys: 50 })
      const options = { retry: { attempts: 1000, firstDelayMs: 10, factor: 1 } }
      const rounds = t.size(100)
      await t.send(sender, topic, orders)
      for (const name of ['first', 'second', 'third']) {
        const failed = t.recorder(name)
        const broker = await t.connect()
        await broker.consume(topic, t.consumeOptions(options), failed.handler(failing))
        await t.until(`everything failed ${rounds} times`, () => orders.every((order) => failed.of(order).length >= rounds), {
          withinMs: t.takeoverMs + 60_000,
          seen: () => failed.starts.length,
        })
        await broker.close()
        for (const order of orders) {
          t.equal(
            attempts(failed.of(order)),
            failed.of(order).map((_, index) => index + 1),
            `attempts of ${order.id} at the ${name} member`,
          )
        }
      }
      const last = t.recorder('last')
      const broker = await t.connect()
      await broker.consume(topic, t.consumeOptions(options), last.handler())
      await t.until('the last member is done', () => last.finished === orders.length, t.takeoverMs + 10_000)
      await t.fence(sender, topic, last)
      last.exactly(orders)
      await t.settled(topic)
      t.equal(await deadIds(sender, topic), [], 'dead letters')
    },
  },
  {
    id: 'ERR-15',
    title: 'Errors can skip the retries',
    needs: 'memory',
    async run(t) {
      const broker = await t.connect()
      const ways = {
        returned: { play: () => deadLetter('bad address'), options: {}, reason: 'bad address' },
        thrown: {
          play: () => {
            throw deadLetter('bad address')
          },
          options: {},
          reason: 'bad address',
        },
        never: { play: failing, options: { retry: false } as const, reason: 'failed' },
      }
      for (const [name, { play, options, reason }] of Object.entries(ways)) {
        const topic = t.topic(name)
        const seen = t.recorder(name)
        const orders = t.orders(10)
        await broker.consume(topic, t.consumeOptions(options), seen.handler(play))
        await t.send(broker, topic, orders)
        await t.settled(topic)
        t.equal(
          orders.map((order) => seen.of(order).length),
          orders.map(() => 1),
          `starts (${name})`,
        )
        const letters = await deadLettersOf(broker, topic)
        t.equal(letters.map((letter) => letter.id).sort(), orders.map((order) => order.id).sort(), `dead letters (${name})`)
        for (const letter of letters)
          t.equal({ attempts: letter.attempts, reason: letter.reason }, { attempts: 1, reason }, `entry of ${letter.id} (${name})`)
      }
    },
  },
  { id: 'ERR-16', title: 'What happens at the end is never silent', needs: 'memory', run: neverSilent },
  {
    id: 'ERR-17',
    title: 'A last attempt still running is not dead-lettered',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 1 })
      const sender = await t.connect()
      const seen = t.recorder()
      const script = { topic, recorder: seen, options: { retry: { attempts: 1 } } }
      const holdMs = Math.min(3 * t.leaseMs, t.capabilities.limits.holdMs ?? Number.POSITIVE_INFINITY)
      await t.member({ ...script, acts: [{ holdMs }] })
      await t.member({ ...script, acts: [{ holdMs }] })
      const orders = t.orders(1)
      await t.send(sender, topic, orders)
      await t.until('it is done', () => seen.finished === 1, { withinMs: holdMs + 10_000, seen: () => seen.starts.length })
      await t.fence(sender, topic, seen)
      seen.exactly(orders)
      t.equal(await deadIds(sender, topic), [], 'dead letters')
    },
  },
  {
    id: 'ERR-18',
    title: 'A message that kills its process ends',
    needs: 'memory',
    gate: when('attempts', 'native'),
    run: crashGuard,
    other: noCrashGuard,
  },
  { id: 'ERR-19', title: 'User code cannot break the machinery', needs: 'memory', run: userCode },
  { id: 'ERR-20', title: 'Parking loses nothing', needs: 'memory', run: parkingLosesNothing },
  { id: 'ERR-21', title: 'attempt is 1 + failures that are known', needs: 'memory', run: attemptsSurvive },
]

/** Messages that lay in a process that died: they were handed out before, and no handler of theirs ever failed. */
async function givenAndNeverStarted(t: Trial): Promise<void> {
  const topic = t.topic('held', { partitions: 1 })
  const sender = await t.connect()
  const seen = t.recorder('held')
  const orders = t.orders(20, { keys: 20 })
  await t.send(sender, topic, orders)
  for (let round = 0; round < 3; round++) {
    const member = await t.member({ topic, recorder: seen, options: { concurrency: 1 }, acts: [{ then: 'never' }] })
    await t.until('it holds some', () => member.calls.handedOut >= 10 && member.running === 1, t.takeoverMs + 10_000)
    t.struck('messages held and not started', member.calls.handedOut - member.starts)
    member.kill()
  }
  await t.member({ topic, recorder: seen })
  await t.settled(topic, 'workers', t.takeoverMs + 10_000)
  seen.each(orders)
  t.equal(seen.starts.filter((start) => start.attempt !== 1).length, 0, 'starts whose attempt is not 1, of messages that were held before')
}

function gapsOf(starts: readonly Start[]): readonly number[] {
  return starts.slice(1).map((start, index) => start.at - ((starts[index] as Start).endedAt as number))
}

async function backoffOf(
  t: Trial,
  name: string,
  policy: { firstDelayMs: number; factor: number; maxDelayMs?: number },
  expected: readonly number[],
): Promise<void> {
  for (const jitter of ['full', 'free'] as const) {
    const topic = t.topic(`${name}-${jitter}`)
    const broker = await t.connect({ jitter })
    const seen = t.recorder(`${name} ${jitter}`)
    const orders = t.orders(20, { keys: 20 })
    await broker.consume(topic, t.consumeOptions({ concurrency: 20, retry: { attempts: 5, ...policy } }), seen.handler(failing))
    await t.send(broker, topic, orders)
    await t.settled(topic, 'workers', 30_000)
    for (const order of orders) {
      const gaps = gapsOf(seen.of(order))
      t.equal(gaps.length, expected.length, `waits of ${order.id}`)
      for (const [index, gap] of gaps.entries()) {
        const wanted = expected[index] as number
        if (jitter === 'full') t.atLeast(gap, wanted, `wait ${index + 1} of ${order.id}, in milliseconds`)
        t.atMost(gap, wanted + t.slack(Math.max(250, wanted * 0.2)), `wait ${index + 1} of ${order.id}, in milliseconds`)
      }
    }
    const first = new Set(orders.map((order) => Math.round(gapsOf(seen.of(order))[0] as number)))
    if (jitter === 'free') t.atLeast(first.size, 5, 'different first waits of 20 messages with full jitter')
  }
}
