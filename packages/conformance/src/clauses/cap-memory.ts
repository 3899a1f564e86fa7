// What the embedded broker may not make easier than a real one, so that code that works on it works elsewhere.

import type { Assignment, Delivery, Outgoing, Received, Session, Source } from '@posthorn/core/adapter'
import { keysOfPartitions } from '../murmur2.ts'
import type { Opened, Trial } from '../trial.ts'
import { sameBytes, utf8 } from './stored.ts'

const signal = (): AbortSignal => new AbortController().signal

/** Seeded interleaving, copies on both sides, bounded buffers, lost links and lost leases. */
export async function memoryIsHonest(t: Trial): Promise<void> {
  await interleaves(t)
  await copies(t)
  await bounds(t)
  await losesLinks(t)
}

/** Between keys there is no order to rely on: what comes back is not what was sent, while each key keeps its own. */
async function interleaves(t: Trial): Promise<void> {
  const topic = t.topic('interleaved')
  const seen = t.recorder()
  const orders = t.orders(200, { keyNames: keysOfPartitions(4) })
  const broker = await t.connect()
  await t.send(broker, topic, orders)
  await broker.consume(topic, t.consumeOptions({ concurrency: 1 }), seen.handler())
  await t.settled(topic)
  seen.exactly(orders)
  seen.ordered()
  const came = seen.starts.map(({ id }) => id)
  t.ok(came.join() !== orders.map(({ id }) => id).join(), 'messages of different keys come in another order than they were sent')
  await broker.close()
}

async function declared(t: Trial, session: Session, base: string): Promise<string> {
  const name = t.name(base)
  await session.declare(
    {
      topics: [
        {
          name,
          keyed: true,
          partitions: 1,
          retentionMs: null,
          groups: [{ name: 'workers', start: 'earliest' }],
          delays: [],
          create: true,
          native: undefined,
        },
      ],
    },
    signal(),
  )
  return name
}
function outgoing(topic: string, id: string, body: Uint8Array, headers: Record<string, string> | null = null): Outgoing {
  return {
    id,
    key: 'k',
    body,
    time: null,
    expiresAt: null,
    attributes: Object.freeze({ source: 'suite', type: topic }),
    headers,
    transport: null,
    place: { topic, role: 'main', group: null },
    partition: 0,
    delayMs: 0,
    slot: null,
  }
}
function source(topic: string, maxUnsettled: number): Source {
  return {
    topic,
    kind: 'group',
    group: 'workers',
    keyed: true,
    settleFirst: false,
    atomic: false,
    handOverMs: 1000,
    maxUnsettled,
    maxBytes: 2 ** 20,
    native: undefined,
  }
}
async function firstAssignment(
  t: Trial,
  opened: Opened,
  topic: string,
  maxUnsettled = 32,
): Promise<{ assignment: Assignment; leave: AbortController; rest: AsyncIterator<Assignment> }> {
  const leave = new AbortController()
  const rest = (await opened.session.subscribe(source(topic, maxUnsettled), leave.signal))[Symbol.asyncIterator]()
  for (;;) {
    const next = await rest.next()
    if (next.done === true) t.fail('an assignment should come')
    else if (next.value.role === 'main') return { assignment: next.value, leave, rest }
  }
}
/** The member leaves: whatever else it was given is given back unread. */
async function leaveAll(assignment: Assignment, leave: AbortController, rest: AsyncIterator<Assignment>): Promise<void> {
  const ended = (async () => {
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) await next.value.release()
  })()
  leave.abort()
  await assignment.release()
  await ended
}
const contentOf = (delivery: Delivery | undefined): Received => delivery?.content as Received

/** Neither the sender nor a handler holds the bytes that the server keeps: asked of the contract, where the bytes are. */
export async function copies(t: Trial): Promise<void> {
  const opened = await t.open()
  const topic = await declared(t, opened.session, 'copied')
  const body = utf8('{"original":true}')
  const original = body.slice()
  await opened.session.publish([outgoing(topic, 'one', body, { colour: 'blue' })], signal())
  body.fill(0)
  for (let round = 0; round < 2; round++) {
    const { assignment, leave, rest } = await firstAssignment(t, opened, topic)
    const content = contentOf((await assignment.read(1))[0])
    t.ok(sameBytes(content.body, original), `round ${round}: the body is what was sent, whatever sender and handler do to their bytes`)
    if (t.capabilities.headers === 'native') t.equal(content.headers?.['colour'], 'blue', `round ${round}: the header`)
    content.body?.fill(1)
    if (content.headers !== null && !Object.isFrozen(content.headers)) (content.headers as Record<string, string>)['colour'] = 'green'
    await leaveAll(assignment, leave, rest)
  }
  await opened.close()
}

/** Nothing beyond `maxUnsettled` is handed out. */
async function bounds(t: Trial): Promise<void> {
  const opened = await t.open()
  const topic = await declared(t, opened.session, 'bounded')
  await opened.session.publish(
    Array.from({ length: 100 }, (_, n) => outgoing(topic, `m${n}`, utf8('{}'))),
    signal(),
  )
  const { assignment, leave, rest } = await firstAssignment(t, opened, topic, 8)
  const held: Delivery[] = []
  let waiting = true
  const reading = (async () => {
    while (held.length < 100) {
      const more = await assignment.read(100)
      if (more.length === 0) break
      held.push(...more)
    }
    waiting = false
  })()
  await t.pass(1000)
  // A log with one position per group cannot tell what is out; there core counts.
  const counts = t.capabilities.settlement === 'each' || t.capabilities.retention === 'queue'
  if (counts) {
    t.equal(held.length, 8, 'deliveries handed out with maxUnsettled 8')
    t.ok(waiting, 'the next read waits for a settlement')
    t.equal(await assignment.settle(held.map(({ token }) => token)), 'settled', 'settling them')
    await t.until('more are handed out', () => held.length > 8)
  }
  await leaveAll(assignment, leave, rest)
  await reading
  await opened.close()
}

/** Links break and leases end when a test asks for it, and the member is told. */
async function losesLinks(t: Trial): Promise<void> {
  for (const how of ['cut', 'silence'] as const) {
    const opened = await t.open()
    const topic = await declared(t, opened.session, `lost-${how}`)
    await opened.session.publish([outgoing(topic, 'one', utf8('{}'))], signal())
    const { assignment } = await firstAssignment(t, opened, topic)
    const [delivery] = await assignment.read(1)
    const since = t.now()
    if (how === 'cut') t.link(opened).cut()
    else t.link(opened).silence('both')
    await t.until(
      `the assignment is lost after ${how}`,
      () => assignment.lost.aborted || t.now() >= assignment.aliveUntil,
      t.leaseMs + 1000,
    )
    t.atMost(t.now() - since, t.leaseMs, `milliseconds until a member knows that it lost its assignment by ${how}`)
    t.link(opened).heal()
    await t.until('the assignment is over', () => assignment.lost.aborted, t.takeoverMs + t.recoverMs)
    t.equal(await assignment.settle([delivery?.token]), 'stale', 'settling by a lost assignment')
    t.equal(await assignment.read(1), [], 'reading by a lost assignment')
    t.equal(await t.auditor.remaining(topic, 'workers'), 1, 'messages left after a stale settlement')
    await opened.close()
  }
}
