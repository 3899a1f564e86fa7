import { Server, Socket } from 'node:net'
import { topic as makeTopic, type Topic } from '@posthorn/core'
import type { Outgoing, Source } from '@posthorn/core/adapter'
import type { Clause } from '../clause.ts'
import type { Trial } from '../trial.ts'
import { connectChanged } from './spied.ts'

/** What opened a socket or listened while `work` ran. */
async function sockets(work: () => unknown): Promise<{ readonly connects: number; readonly listens: number }> {
  const { connect } = Socket.prototype
  const { listen } = Server.prototype
  let connects = 0
  let listens = 0
  Socket.prototype.connect = function (this: Socket, ...args: never[]): Socket {
    connects++
    return Reflect.apply(connect, this, args) as Socket
  } as typeof connect
  Server.prototype.listen = function (this: Server, ...args: never[]): Server {
    listens++
    return Reflect.apply(listen, this, args) as Server
  } as typeof listen
  try {
    await work()
  } finally {
    Socket.prototype.connect = connect
    Server.prototype.listen = listen
  }
  return { connects, listens }
}

async function silent(t: Trial): Promise<void> {
  const before = await t.auditor.counters()
  const built = await sockets(() => {
    t.adapter()
    makeTopic(t.name('built'), { groups: ['workers'] })
    t.topic('built')
  })
  t.equal(built, { connects: 0, listens: 0 }, 'sockets of building an adapter and topics')
  const after = await t.auditor.counters()
  t.equal(after.connections, before.connections, 'connections after building')
  t.equal(after.requests, before.requests, 'requests after building')

  const topic = t.topic('used')
  const seen = t.recorder()
  const broker = await t.connect()
  // What a connection has to answer may come after it is open.
  let connected = await t.auditor.counters()
  await t.until('what connecting caused is over', async () => {
    await t.sleep(100)
    const last = connected
    connected = await t.auditor.counters()
    return JSON.stringify(connected.requests) === JSON.stringify(last.requests)
  })
  const made = await sockets(() => {
    for (let n = 0; n < 100; n++) broker.producer(t.topic(`made-${n}`))
  })
  t.equal(made, { connects: 0, listens: 0 }, 'sockets of making producers')
  t.equal((await t.auditor.counters()).requests, connected.requests, 'requests of making producers')
  const used = await sockets(async () => {
    const second = await t.connect()
    await second.consume(topic, t.consumeOptions(), seen.handler())
    await t.send(broker, topic, t.orders(20))
    await t.settled(topic)
    await second.close()
  })
  t.equal(used.listens, 0, 'times that the library listened')
  // An embedded broker has no wire at all.
  if (t.virtual) t.equal(used.connects, 0, 'sockets of a whole life on the embedded broker')
  t.equal(seen.done, 20, 'messages handled')
}

const signal = (): AbortSignal => new AbortController().signal

async function limits(t: Trial): Promise<void> {
  const { limits } = t.capabilities
  const opened = await t.open()
  const { session } = opened
  const adapter = t.adapter()
  const name = t.name('limits')
  await session.declare(
    {
      topics: [
        {
          name,
          keyed: false,
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
  const attributes = Object.freeze({ source: 'suite', type: name })
  const outgoing = (id: string, bytes: number): Outgoing => ({
    id,
    key: null,
    body: new Uint8Array(bytes),
    time: null,
    expiresAt: null,
    attributes,
    headers: null,
    transport: null,
    place: { topic: name, role: 'main', group: null },
    partition: 0,
    delayMs: 0,
    slot: null,
  })

  // What the contract promises, asked of the contract: at the limit it works.
  const largest = await session.publish([outgoing('largest', limits.messageBytes)], signal())
  t.equal(largest.failures.length, 0, `failures of one message of ${limits.messageBytes} bytes`)
  const above = await session.publish([outgoing('above', limits.messageBytes + 1)], signal())
  const [failure] = above.failures
  t.equal(failure?.outcome, 'failed', 'the outcome of a message above the limit')
  t.equal(adapter.explain(failure?.error).code, 'TOO_LARGE', 'the code of a message above the limit')
  const full = await session.publish(
    Array.from({ length: limits.batch }, (_, n) => outgoing(`b${n}`, 10)),
    signal(),
  )
  t.equal(full.failures.length, 0, `failures of a batch of ${limits.batch}`)
  const open = await Promise.all(Array.from({ length: limits.batches }, (_, n) => session.publish([outgoing(`p${n}`, 10)], signal())))
  t.equal(open.flatMap(({ failures }) => failures).length, 0, `failures of ${limits.batches} publishes at once`)
  const most: Source = {
    topic: name,
    kind: 'group',
    group: 'workers',
    keyed: false,
    settleFirst: false,
    atomic: false,
    handOverMs: 1000,
    maxUnsettled: limits.unsettled,
    maxBytes: 2 ** 24,
    native: undefined,
  }
  const leave = new AbortController()
  const iterator = (await session.subscribe(most, leave.signal))[Symbol.asyncIterator]()
  const first = await iterator.next()
  t.ok(first.done !== true, `an assignment with maxUnsettled ${limits.unsettled}`)
  if (first.done !== true) {
    t.ok((await first.value.read(10)).length > 0, 'deliveries with the highest maxUnsettled')
    const ended = (async () => {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) await next.value.release()
    })()
    leave.abort()
    await first.value.release()
    await ended
  }

  await coreKeepsLimits(t)
}

/** Above a limit core refuses or splits, before the adapter is asked. */
async function coreKeepsLimits(t: Trial): Promise<void> {
  const { limits } = t.capabilities
  let openNow = 0
  let mostOpen = 0
  let largest = 0
  const broker = await connectChanged(t, (session) => ({
    async publish(batch, stop) {
      largest = Math.max(largest, batch.length)
      mostOpen = Math.max(mostOpen, ++openNow)
      try {
        return await session.publish(batch, stop)
      } finally {
        openNow--
      }
    },
  }))
  try {
    const topic: Topic<Uint8Array, unknown> = makeTopic(t.name('core'), { codec: 'bytes', maxBytes: 2 ** 30, groups: ['workers'] })
    const producer = broker.producer(topic)
    await producer.send(new Uint8Array(1))
    await refusedAtStart(t, broker, topic)

    const before = (await t.auditor.read(t.place(topic))).length
    const tooLarge = await t.rejects(producer.send(new Uint8Array(limits.messageBytes + 1)), 'TOO_LARGE', {
      what: 'a send above limits.messageBytes',
    })
    t.equal(tooLarge.outcome, 'failed', 'its outcome')
    const tooLate = await t.rejects(producer.send(new Uint8Array(1), { delayMs: limits.delayMs + 1 }), 'INVALID_ARGUMENT', {
      naming: [String(limits.delayMs)],
      what: 'a delay above limits.delayMs',
    })
    t.equal(tooLate.outcome, 'failed', 'its outcome')
    t.equal((await t.auditor.read(t.place(topic))).length, before, 'messages stored after two refusals')
    await producer.send(new Uint8Array(1), { delayMs: limits.delayMs })

    const count = limits.batch * 2 + 1
    const receipts = await producer.sendBatch(Array.from({ length: count }, () => ({ value: new Uint8Array(1) })))
    t.equal(receipts.length, count, 'receipts of a batch of more than twice the limit')
    await Promise.all(Array.from({ length: limits.batches * 50 }, () => producer.send(new Uint8Array(1000))))
    t.atMost(largest, limits.batch, 'messages of one publish')
    t.atMost(mostOpen, limits.batches, 'publishes open at once')
  } finally {
    await broker.close()
  }
}

async function refusedAtStart(t: Trial, broker: Awaited<ReturnType<typeof connectChanged>>, topic: Topic): Promise<void> {
  const { unsettled, holdMs } = t.capabilities.limits
  await t.rejects(
    broker.consume(topic, t.consumeOptions({ maxUnsettled: unsettled + 1 }), () => {}),
    'INVALID_ARGUMENT',
    {
      naming: ['maxUnsettled', String(unsettled)],
      what: 'maxUnsettled above the limit',
    },
  )
  const most = await broker.consume(
    topic,
    t.consumeOptions({ maxUnsettled: unsettled, ...(holdMs === null ? {} : { handlerTimeoutMs: holdMs }) }),
    () => {},
  )
  await most.close()
  if (holdMs !== null) {
    await t.rejects(
      broker.consume(topic, t.consumeOptions({ handlerTimeoutMs: holdMs + 1 }), () => {}),
      'INVALID_ARGUMENT',
      {
        naming: ['handlerTimeoutMs', String(holdMs)],
        what: 'handlerTimeoutMs above the limit',
      },
    )
    return
  }
  // For ever: a handler that runs far beyond the lease keeps its message.
  const long = t.topic('long')
  const seen = t.recorder()
  const consumer = await broker.consume(
    long,
    t.consumeOptions(),
    seen.handler(() => t.sleep((t.virtual ? 20 : 3) * t.leaseMs)),
  )
  await t.send(broker, long, t.orders(1))
  await t.until('the long handler ends', () => seen.done === 1, 30 * t.leaseMs)
  await t.settled(long)
  t.equal(seen.starts.length, 1, 'starts of a handler that holds its message long')
  await consumer.close()
}

/** CAP-10 and CAP-12. */
export const capLimits: readonly Clause[] = [
  { id: 'CAP-10', title: 'Building is silent', needs: 'memory', run: silent },
  { id: 'CAP-12', title: 'Limits are true', needs: 'memory', run: limits },
]
