// ERR-6, 7, 11, 18, 20, 21: what happens to the copies that retries and dead letters make.

import { retry } from '@posthorn/core'
import type { StoredMessage } from '../harness.ts'
import type { Act } from '../member.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { readMeant } from './stored.ts'
import { deadIds, deadLettersOf, failing } from './support.ts'

/** ERR-6 */
export async function wholeEntries(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const gate = t.gate()
  const seen = t.recorder()
  const orders = t.orders(20, { keys: 20 })
  const sentAt = t.wall()
  await broker.consume(
    topic,
    t.consumeOptions({ concurrency: 20 }),
    seen.handler(async (message) => {
      await gate.wait()
      throw new Error(`${'no '.repeat(2000)}${message.id}`)
    }),
  )
  await t.send(broker, topic, orders, { headers: { 'x-shop': 'north' } })
  await t.until('20 handlers run', () => seen.running === 20)
  const stored = new Map((await readMeant(t, t.place(topic))).map((message) => [message.id, message]))
  gate.open()
  await t.settled(topic, 'workers', 30_000)
  for (const order of orders)
    t.equal(
      seen.of(order).map((start) => start.attempt),
      [1, 2, 3],
      `attempts of ${order.id}`,
    )
  t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 20, 'entries that the auditor finds')
  const letters = new Map((await deadLettersOf(broker, topic)).map((letter) => [letter.id, letter]))
  t.equal(letters.size, 20, 'entries that the library lists')
  for (const order of orders) {
    const letter = letters.get(order.id)
    if (letter === undefined) t.fail(`${order.id} has no dead letter`, [order.id])
    const { key, value, headers, source, type, reason, attempts, topic: from, group } = letter
    t.equal(
      { key, value, headers: headers['x-shop'], source, type, reason, attempts, from, group },
      {
        key: order.key ?? undefined,
        value: order,
        headers: 'north',
        source: 'suite',
        type: topic.name,
        reason: 'failed',
        attempts: 3,
        from: topic.name,
        group: 'workers',
      },
      `dead letter of ${order.id}`,
    )
    t.equal(Buffer.from(letter.bytes).toString(), JSON.stringify(order), `bytes of the dead letter of ${order.id}`)
    t.atMost(Buffer.byteLength(letter.error ?? ''), 2048, `bytes of the error text of ${order.id}`)
    t.atLeast(letter.error?.length ?? 0, 10, `letters of the error text of ${order.id}`)
    const [first, last] = [letter.firstFailedAt.getTime(), letter.lastFailedAt.getTime()]
    t.ok(
      first >= sentAt && last >= first + 200 && last <= t.wall(),
      `first failure ${first} and last failure ${last} of ${order.id} are true`,
    )
    if (t.capabilities.positions === 'native') t.equal(letter.position, stored.get(order.id)?.position, `position of ${order.id}`)
  }
}

/** ERR-7 */
export async function crashBetween(t: Trial): Promise<void> {
  const sender = await t.connect()
  for (let round = 0; round < t.rounds(10, 4); round++) {
    const topic = t.topic(`jobs-${round}`, { partitions: 1 })
    const seen = t.recorder(`round ${round}`)
    const script = { topic, recorder: seen, options: { retry: { attempts: 1 } }, acts: [{ then: 'throw' }] } as const
    const dying = await t.member({ ...script, dieAt: { operation: 'publish', role: 'dead', when: round % 2 === 0 ? 'after' : 'before' } })
    const orders = t.orders(3, { keys: 3 })
    await t.send(sender, topic, orders)
    await dying.died
    t.struck('deaths at a dead letter', 1)
    t.atLeast(await t.auditor.remaining(topic.name, 'workers'), 1, 'unsettled when the process died with its dead letter unconfirmed')
    await t.member(script)
    await t.settled(topic, 'workers', t.takeoverMs + 10_000)
    const ids = await deadIds(sender, topic)
    for (const order of orders) {
      const entries = ids.filter((id) => id === order.id).length
      t.ok(entries === 1 || entries === 2, `${order.id} has ${entries} dead letters after a crash; 1 or 2 expected`, [order.id])
    }
    t.equal(
      ids.filter((id) => !orders.some((order) => order.id === id)),
      [],
      'dead letters of nobody',
    )
  }
}

/** ERR-18, where the server counts hand-overs. */
export async function crashGuard(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const sender = await t.connect()
  const seen = t.recorder()
  const [deadly] = t.orders(1, { keys: 1 }) as [Order]
  const others = t.orders(5, { keys: 5 })
  const script = { topic, recorder: seen, options: { concurrency: 1, maxUnsettled: 1, maxDeliveries: 5 } }
  const acts: readonly Act[] = [{ when: { ids: [deadly.id] }, then: 'exit' }]
  await t.send(sender, topic, [deadly])
  await t.send(sender, topic, others)
  let restarts = 0
  for (; restarts < 10; restarts++) {
    const member = await t.member({ ...script, acts })
    const ended = member.died.then(() => true)
    const through = t
      .until('all others are done', () => others.every((order) => seen.of(order).length > 0), t.takeoverMs + 20_000)
      .then(() => false)
    if (!(await Promise.race([ended, through]))) break
    through.catch(() => {})
  }
  t.equal(restarts, 5, 'processes that the message killed')
  t.equal(seen.of(deadly).length, 5, 'starts of the message that kills its process')
  await t.settled(topic)
  const letters = await deadLettersOf(sender, topic)
  t.equal(
    letters.map(({ id, reason }) => ({ id, reason })),
    [{ id: deadly.id, reason: 'crash-loop' }],
    'dead letters',
  )
  for (const order of others) t.atLeast(seen.of(order).filter((start) => start.end === 'done').length, 1, `times that ${order.id} was done`)
  await guardIsOff(t)
}

/** Without `maxDeliveries` nothing gives up on a message, however many processes it killed. */
async function guardIsOff(t: Trial): Promise<void> {
  const topic = t.topic('unguarded', { partitions: 1 })
  const sender = await t.connect()
  const seen = t.recorder('unguarded')
  const [deadly] = t.orders(1, { keys: 1 }) as [Order]
  await t.send(sender, topic, [deadly])
  const deaths = t.rounds(8, 6)
  for (let round = 0; round < deaths; round++) {
    const member = await t.member({ topic, recorder: seen, acts: [{ then: 'exit' }] })
    await member.died
  }
  await t.member({ topic, recorder: seen })
  await t.settled(topic, 'workers', t.takeoverMs + 10_000)
  t.equal(
    seen.of(deadly).map((start) => start.attempt),
    Array.from({ length: deaths + 1 }, () => 1),
    'attempts of a message that kills its process, without a guard',
  )
  t.equal(await deadIds(sender, topic), [], 'dead letters without a guard')
}

/** ERR-20 */
export async function parkingLosesNothing(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { keyed: false })
  const sender = await t.connect()
  const seen = t.recorder()
  const orders = t.orders(t.size(200), { keyNames: [] })
  const acts: readonly Act[] = [{ when: { attempts: 1 }, then: { retry: 31_000 } }]
  await t.send(sender, topic, orders)
  let kills = 0
  for (let round = 0; round < t.rounds(10, 3); round++) {
    const member = await t.member({
      topic,
      recorder: seen,
      acts,
      dieAt: { operation: 'publish', role: 'retry', when: 'after', nth: 1 + Math.floor(t.random() * 3) },
    })
    const died = await Promise.race([member.died.then(() => true), t.sleep(t.takeoverMs).then(() => false)])
    if (!died) member.kill()
    else kills++
  }
  t.struck('kills between a parked copy and its settlement', kills)
  await t.member({ topic, recorder: seen, acts })
  await t.until('all are done', () => seen.finished === orders.length, { withinMs: t.takeoverMs + 120_000, seen: () => seen.finished })
  await t.settled(topic, 'workers', 60_000)
  seen.each(orders)
  for (const order of orders) {
    const done = seen.of(order).filter((start) => start.end === 'done').length
    t.atMost(done, 1 + kills, `times that ${order.id} was done after ${kills} kills`)
    for (const start of seen.of(order)) if (start.end === 'done') t.equal(start.attempt, 2, `attempt of ${order.id} from its parked copy`)
  }
  t.atMost(seen.done - orders.length, kills * 32 * 16, 'extra runs after the kills')
}

/** ERR-21 */
export async function attemptsSurvive(t: Trial): Promise<void> {
  const sender = await t.connect()
  const inPlace = t.topic('in-place', { partitions: 1 })
  const first = t.recorder('in place')
  const script = { topic: inPlace, options: { retry: { attempts: 5, firstDelayMs: 100, factor: 1 } } }
  const gate = t.gate()
  const dying = await t.member({ ...script, recorder: first, acts: [{ when: { attempts: 2 }, then: 'throw' }, { gate }] })
  const [order] = t.orders(1) as [Order]
  await t.send(sender, inPlace, [order])
  await t.until('its third attempt runs', () => first.of(order).length === 3 && dying.running === 1)
  t.struck('running handlers', dying.running)
  dying.kill()
  const second = t.recorder('in place again')
  await t.member({ ...script, recorder: second })
  await t.until('it is done', () => second.of(order).length === 1, t.takeoverMs + 10_000)
  t.equal(
    first
      .of(order)
      .concat(second.of(order))
      .map((start) => start.attempt),
    [1, 2, 3, 1],
    'attempts over a crash',
  )
  await t.settled(inPlace)

  const parking = t.topic('parked', { keyed: false, partitions: 1 })
  const parked = t.recorder('parked')
  const [waiting] = t.orders(1, { keyNames: [] }) as [Order]
  const parker = await t.member({
    topic: parking,
    recorder: parked,
    acts: [
      { when: { attempts: 1 }, then: 'throw' },
      { when: { attempts: 2 }, then: { retry: 31_000 } },
    ],
  })
  await t.send(sender, parking, [waiting])
  await t.until('it is parked', () => t.events('parked').some(({ event }) => event['id'] === waiting.id))
  await t.pass(1000)
  parker.kill()
  const later = t.recorder('parked, later')
  await t.member({ topic: parking, recorder: later })
  await t.until('it is done', () => later.of(waiting).length === 1, t.takeoverMs + 60_000)
  t.equal(
    later.of(waiting).map((start) => start.attempt),
    [3],
    'attempt of a parked copy with two failures',
  )
  await t.settled(parking)

  const moving = t.topic('moving', { partitions: 1 })
  const moves = t.recorder('moving')
  const [moved] = t.orders(1) as [Order]
  await t.send(sender, moving, [moved])
  for (let round = 0; round < 5; round++) {
    const broker = await t.connect()
    const blocked = t.gate()
    await broker.consume(
      moving,
      t.consumeOptions(),
      moves.handler(() => blocked.wait()),
    )
    await t.until('it runs', () => moves.of(moved).length === round + 1, t.takeoverMs)
    await broker.close({ drainMs: 100 })
    blocked.open()
  }
  const last = await t.connect()
  await last.consume(moving, t.consumeOptions(), moves.handler())
  await t.settled(moving, 'workers', t.takeoverMs)
  t.equal(
    moves.of(moved).map((start) => start.attempt),
    [1, 1, 1, 1, 1, 1],
    'attempts over five hand-overs',
  )
  t.equal((await deadIds(last, moving)).length, 0, 'dead letters')
}

/** ERR-11 */
export async function weakerNever(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { keyed: false, partitions: 1 })
  const broker = await t.connect({ jitter: 'free' })
  const seen = t.recorder()
  const gate = t.gate()
  const orders = t.orders(30, { keyNames: [] })
  const [parked, dead, delayed] = [orders.slice(0, 10), orders.slice(10, 20), orders.slice(20)]
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const headers = { 'x-shop': 'north', traceparent }
  await broker.consume(
    topic,
    t.consumeOptions({ concurrency: 32, retry: { attempts: 2, firstDelayMs: 10, factor: 1 } }),
    seen.handler(async (message) => {
      t.equal(message.headers['x-shop'], 'north', `header of ${message.id} at the handler, attempt ${message.attempt}`)
      await gate.wait()
      if (dead.some((order) => order.id === message.id)) return failing()
      if (message.attempt === 1 && parked.some((order) => order.id === message.id)) return retry({ afterMs: 60_000 })
    }),
  )
  await t.send(broker, topic, [...parked, ...dead], { headers })
  await t.until('20 handlers run', () => seen.running === 20)
  const originals = new Map((await t.auditor.read(t.place(topic))).map((message) => [message.id, message]))
  await t.send(broker, topic, delayed, { headers, delayMs: 90_000 })
  gate.open()
  await t.until(
    'all are parked or dead',
    async () =>
      (await t.auditor.read(t.place(topic, 'retry'))).length === 10 && (await t.auditor.read(t.place(topic, 'dead'))).length === 10,
  )
  const retries = await t.auditor.read(t.place(topic, 'retry'))
  const letters = await t.auditor.read(t.place(topic, 'dead'))
  if (t.capabilities.headers === 'native') {
    for (const copy of [...retries, ...letters]) {
      const original = originals.get(copy.id)
      if (original === undefined) t.fail(`a copy has the id ${copy.id}, which nobody sent`)
      t.equal(whatTravels(copy), whatTravels(original), `copy of ${copy.id}`)
    }
  }
  t.struck('copies', retries.length + letters.length)
  // What survives a kill only where the server says so survives a clean restart: a copy that does not is weaker than its original.
  await t.crash(t.profile === 'durable' ? 'SIGKILL' : 'SIGTERM')
  await t.restart()
  if (t.profile !== 'volatile') {
    t.equal((await t.auditor.read(t.place(topic, 'retry'))).length, 10, 'parked copies after the server was restarted')
    t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 10, 'dead letters after the server was restarted')
  }
  const alive = [...parked, ...delayed]
  await t.until('what was parked and delayed is done', () => alive.every((order) => seen.of(order).some((start) => start.end === 'done')), {
    withinMs: 180_000,
    seen: () => alive.filter((order) => !seen.of(order).some((start) => start.end === 'done')).map((order) => order.id),
  })
  await t.settled(topic, 'workers', 30_000)
  for (const letter of await deadLettersOf(broker, topic)) {
    t.equal(
      { shop: letter.headers['x-shop'], value: letter.value },
      { shop: 'north', value: orders.find((order) => order.id === letter.id) },
      `dead letter of ${letter.id}`,
    )
  }
}

function whatTravels(message: StoredMessage): unknown {
  const { id, key, body, time, headers, transport } = message
  // A copy also says in which trace its original was made; the original says so by its transport.
  const { traceparent, ...attributes } = message.attributes
  const made = traceparent ?? transport?.['traceparent']
  return {
    id,
    key,
    time,
    headers: { ...headers },
    body: body === null ? null : Buffer.from(body).toString('hex'),
    attributes,
    trace: transport?.['traceparent']?.split('-')[1],
    made: made?.split('-')[1],
  }
}
