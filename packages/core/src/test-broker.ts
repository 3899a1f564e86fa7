import type { Broker } from './broker.ts'
import { checkOptions, text } from './check.ts'
import { macrotask, realClock, realRandom } from './clock.ts'
import { type ConnectOptions, connectWith } from './connect.ts'
import type { DeadLetter } from './dead-letters.ts'
import { decodeValue } from './decode.ts'
import { createDriver, type Driver, realPause } from './drive.ts'
import { isMessagingError, MessagingError } from './errors.ts'
import { readContent } from './incoming.ts'
import { IncomingMessage } from './incoming-message.ts'
import { loadAdapter } from './load-adapter.ts'
import { memory, memoryServer } from './memory/index.ts'
import type { Message, MessageOf } from './message.ts'
import { rememberSecretsIn } from './target.ts'
import { drivenBroker, type MemberRecord } from './test-driven.ts'
import { createFaults, type Fault } from './test-faults.ts'
import { createJournal, type HandledRecord, type Journal, type LogRecord, type StoredRecord } from './test-journal.ts'
import { type Match, matches, shown } from './test-match.ts'
import { definitionOf, type Topic, type TopicDefinition, type ValueOf } from './topic.ts'
import { virtualClock } from './virtual-clock.ts'

/**
 * A broker to test applications with: give it to them in place of what `connect` returns. Time is virtual: it stands still
 * until a wait below, or a call of the broker that needs time to end (a send that is repeated, a close that drains), moves
 * it from due time to due time. Retries of minutes and delays of days pass in milliseconds, in their order.
 */
export interface TestBroker extends Broker {
  /**
   * The first message of the topic that was stored and matches, delayed and forwarded ones included; waits for it. Its
   * value is what receivers get. Every message is decoded and validated again before it is sent.
   *
   * @throws MessagingError TIMED_OUT when nothing happens any more, saying what was sent instead
   */
  sent<T extends Topic>(topic: T, match?: Match<ValueOf<T>>): Promise<MessageOf<T>>
  /**
   * The first message that matches and was handled with success (by `group`, if it is given); waits for it. What was
   * handled before the call counts, so a test may act first and ask afterwards.
   *
   * @throws MessagingError TIMED_OUT when nothing happens any more, saying what was handled, sent and set aside instead
   */
  handled<T extends Topic>(topic: T, match?: Match<ValueOf<T>>, options?: { readonly group?: string | undefined }): Promise<MessageOf<T>>
  /**
   * The first dead letter of any group of the topic that matches; waits for it.
   *
   * @throws MessagingError TIMED_OUT when nothing happens any more, saying what happened instead
   */
  deadLettered<T extends Topic>(topic: T, match?: Match<ValueOf<T>>): Promise<DeadLetter>
  /**
   * Resolves when nothing is left to do: all sends have their outcome, every group consumed here has finished everything,
   * retries and delayed messages included. The way to show that something did not happen.
   *
   * @throws MessagingError TIMED_OUT when it does not come to rest, saying what is left
   */
  idle(): Promise<void>
  /** What happened on the topic so far, in order, by the names of the telemetry: `sent`, `start`, `failed`, `done`, … */
  log(topic: Topic): readonly LogRecord[]
  /**
   * Plays a fault on the embedded broker, for `forMs` of virtual time: `link`, the connection breaks and cannot be made
   * again (default 1 s); `server`, it is killed and started again, what it stored stays (default 1 s); `member`, this
   * process freezes long enough to lose what it owns (default 15 min).
   *
   * @throws MessagingError UNSUPPORTED on a real server
   */
  fail(what: Fault, forMs?: number): void
}

/** Real milliseconds without anything happening after which a wait gives up. */
const patienceMs = { virtual: 4_000, real: 30_000 }
/** A wait in which things happen for ever. */
const longestMs = 120_000
/** Real milliseconds that a running handler gets before time moves under it, and before it moves on. */
const handlerGraceMs = { first: 200, next: 30 }
// Longer than on a real server: heartbeats are steps of the clock, and a day should not take thousands of them.
const serverTimes = { leaseMs: 600_000, heartbeatMs: 150_000, replyMs: 5_000 }

/**
 * A broker for tests: on an embedded server of its own with virtual time, or, where BROKER_URL is set, on that server in
 * real time, so that one test file runs on both. On a real server use topic names that are new in each run.
 *
 * @throws MessagingError as `connect`
 * @example
 * import { topic, unchecked } from '@posthorn/core'
 * import { testBroker } from '@posthorn/core/testing'
 *
 * const orderPlaced = topic('orders.placed', { schema: unchecked<{ orderId: string }>(), groups: ['email'] })
 * const broker = await testBroker()
 * await broker.consume(orderPlaced, { group: 'email' }, (message) => console.log(message.value.orderId)) // the service
 * await broker.producer(orderPlaced).send({ orderId: '17' })
 * await broker.handled(orderPlaced, { orderId: '17' }, { group: 'email' })
 */
export async function testBroker(options: ConnectOptions = {}): Promise<TestBroker> {
  const url = process.env.BROKER_URL
  const time = url === undefined || url === '' ? virtualClock({ startMs: realClock.now() }) : null
  const clock = time ?? realClock
  const name = options.name ?? 'test'
  const members: MemberRecord[] = []
  const mine = (topic: string, group: string): boolean =>
    members.some((each) => each.group === group && each.topics.some(({ name }) => name === topic))
  const journal = createJournal({ broker: name, now: () => clock.now(), mine })
  const server = time === null ? null : memoryServer(serverTimes)
  const faults = createFaults(server, clock, journal)
  try {
    if (time === null) rememberSecretsIn(url)
    const adapter = server === null ? await loadAdapter(url as string, undefined) : memory({ server })
    const inner = await connectWith({ clock, random: realRandom, readBackAlways: true }, journal.watch(adapter), {
      ...options,
      name,
      middleware: [journal.middleware, ...(options.middleware ?? [])],
    })
    const atWork = async (): Promise<boolean> => faults.open || (await busy(inner, journal, members, clock.now(), time !== null))
    const driver = time === null ? null : createDriver(time, { wanted: atWork, hold: holdBack(journal) })
    const broker = drivenBroker(inner, driver, journal, members)
    return assembled(broker, { journal, members, driver, atWork, fail: faults.fail })
  } catch (error) {
    journal.stop()
    throw error
  }
}

/** Is anything under way that time would bring on? */
async function busy(broker: Broker, journal: Journal, members: readonly MemberRecord[], now: number, virtual: boolean): Promise<boolean> {
  if (broker.status === 'recovering' || journal.delayed(now)) return true
  const living = members.filter(({ consumer }) => consumer.state !== 'closed' && consumer.state !== 'failed')
  if (living.some(({ consumer }) => consumer.state === 'recovering' || consumer.stats().unsettled > 0)) return true
  for (const { topics, group, broadcast } of living) {
    if (broadcast) continue
    for (const topic of topics) if ((await left(broker, topic, group, virtual)) > 0) return true
  }
  return false
}

// What a server cannot say counts as nothing. The embedded one answers at once, or something is in the way.
function left(broker: Broker, topic: Topic, group: string, virtual: boolean): Promise<number> {
  const answer = broker.lag(topic, group).then(
    ({ backlog, unsettled }) => (backlog ?? 0) + (unsettled ?? 0),
    () => 0,
  )
  return virtual ? Promise.race([answer, macrotask().then(() => 1)]) : answer
}

/** Handlers do real work now and then: time stands still under them for a moment, and then moves slowly. */
function holdBack(journal: Journal): () => boolean {
  let movedAt = Number.NEGATIVE_INFINITY
  return () => {
    const now = realClock.monotonic()
    if (journal.running > 0 && (now - journal.movedAt < handlerGraceMs.first || now - movedAt < handlerGraceMs.next)) return true
    movedAt = now
    return false
  }
}

interface Parts {
  readonly journal: Journal
  readonly members: readonly MemberRecord[]
  /** Null on a real server. */
  readonly driver: Driver | null
  readonly atWork: () => Promise<boolean>
  readonly fail: TestBroker['fail']
}

function assembled(broker: Broker, parts: Parts): TestBroker {
  const { journal, members, driver } = parts
  const views = new WeakMap<StoredRecord, Promise<Message | null>>()
  let closed = false

  async function wait<T>(attempted: string, look: () => Promise<T | undefined>, instead: () => string): Promise<T> {
    const start = realClock.monotonic()
    const patience = driver === null ? patienceMs.real : patienceMs.virtual
    for (;;) {
      const found = await look()
      if (found !== undefined) return found
      const now = realClock.monotonic()
      if (closed) throw new MessagingError('CLOSED', `${attempted}: the broker is closed. ${instead()}`)
      if (now - Math.max(start, journal.movedAt) > patience || now - start > longestMs)
        throw new MessagingError('TIMED_OUT', `${attempted}: ${instead()}`)
      if (driver === null) await realPause(10)
      else if ((await driver.turn()) !== 'moved') await realPause(1)
    }
  }

  /** A stored message as a receiver would see it; null where no receiver could. */
  function view(definition: TopicDefinition, record: StoredRecord): Promise<Message | null> {
    let made = views.get(record)
    if (made === undefined) {
      made = decoded(definition, record)
      views.set(record, made)
    }
    return made
  }
  async function decoded(definition: TopicDefinition, record: StoredRecord): Promise<Message | null> {
    try {
      const content = readContent(journal.capabilities ?? { headers: 'native' }, record.content)
      const value = await decodeValue(definition, content)
      const delivery = { token: null, content, parked: false, deliveries: null, position: () => record.position() }
      return new IncomingMessage(definition, '', content.id ?? '', value, 1, content, delivery, () => {
        throw new MessagingError('INVALID_ARGUMENT', 'cannot forward from a message that was sent: only handlers forward')
      })
    } catch {
      return null
    }
  }

  // What else happened, for a wait that found nothing.
  async function story(topic: TopicDefinition): Promise<string> {
    const { sent, handled, log } = journal.topic(topic.name)
    const values = await Promise.all(sent.slice(-5).map((record) => view(topic, record)))
    const others = journal.topics.filter((name) => name !== topic.name && journal.topic(name).sent.length > 0)
    return [
      `${sent.length} sent${sent.length === 0 ? '' : ` (${values.map((message) => (message === null ? 'unreadable' : shown(message.value))).join(', ')})`}`,
      `${handled.length} handled${
        handled.length === 0
          ? ''
          : ` (${handled
              .slice(-5)
              .map(({ group, message }) => `${group}: ${shown(message.value)}`)
              .join(', ')})`
      }`,
      ...(['failed', 'dead-lettered', 'dropped', 'expired'] as const).flatMap((event) => {
        const count = log.filter((each) => each.event === event).length
        return count === 0 ? [] : [`${count} ${event}`]
      }),
      ...(others.length === 0 ? [] : [`sent to other topics: ${others.join(', ')}`]),
      ...(members.some(({ topics }) => topics.some(({ name }) => name === topic.name)) ? [] : ['no consumer of it was started']),
    ].join('; ')
  }

  async function told<T>(work: Promise<T>, topic: TopicDefinition): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (!isMessagingError(error, 'TIMED_OUT') && !isMessagingError(error, 'CLOSED')) throw error
      throw new MessagingError(error.code, `${error.message} on "${topic.name}": ${await story(topic)}`, { retryable: false })
    }
  }

  async function firstLetter(topic: Topic, group: string, match: Match<unknown> | undefined): Promise<DeadLetter | undefined> {
    try {
      for await (const letter of broker.deadLetters(topic, group).list()) if (matches(letter.value, match)) return letter
    } catch (error) {
      // A group that nobody declared yet has none.
      if (!isMessagingError(error, 'NOT_FOUND')) throw error
    }
    return undefined
  }

  function groupsOf(topic: TopicDefinition): ReadonlySet<string> {
    const here = members.filter((each) => each.topics.some(({ name }) => name === topic.name)).map(({ group }) => group)
    return new Set([...topic.groups, ...here])
  }

  const waits: Pick<TestBroker, 'sent' | 'handled' | 'deadLettered' | 'idle' | 'log' | 'fail'> = {
    sent<T extends Topic>(topic: T, match?: Match<ValueOf<T>>): Promise<MessageOf<T>> {
      const definition = definitionOf('cannot wait for what is sent', topic)
      let next = 0
      const look = async (): Promise<MessageOf<T> | undefined> => {
        const { sent } = journal.topic(definition.name)
        for (; next < sent.length; next++) {
          const message = await view(definition, sent[next] as StoredRecord)
          if (message !== null && matches(message.value, match)) return message as MessageOf<T>
        }
        return undefined
      }
      return told(wait(`nothing was sent to "${definition.name}"${matching(match)}`, look, gaveUp), definition)
    },
    handled<T extends Topic>(
      topic: T,
      match?: Match<ValueOf<T>>,
      options?: { readonly group?: string | undefined },
    ): Promise<MessageOf<T>> {
      const definition = definitionOf('cannot wait for what is handled', topic)
      const { group } = checkOptions<{ readonly group?: string | undefined }>('cannot wait for what is handled', options, { group: text })
      let next = 0
      const look = async (): Promise<MessageOf<T> | undefined> => {
        const { handled } = journal.topic(definition.name)
        for (; next < handled.length; next++) {
          const record = handled[next] as HandledRecord
          if ((group === undefined || record.group === group) && matches(record.message.value, match)) return record.message as MessageOf<T>
        }
        return undefined
      }
      const by = group === undefined ? '' : ` by the group "${group}"`
      return told(wait(`nothing of "${definition.name}"${matching(match)} was handled${by}`, look, gaveUp), definition)
    },
    deadLettered<T extends Topic>(topic: T, match?: Match<ValueOf<T>>): Promise<DeadLetter> {
      const definition = definitionOf('cannot wait for a dead letter', topic)
      let seen = -1
      let lookedAt = Number.NEGATIVE_INFINITY
      const look = async (): Promise<DeadLetter | undefined> => {
        const { deadLetters } = journal.topic(definition.name)
        const now = realClock.monotonic()
        // Other processes write dead letters too, on a real server.
        if (deadLetters === seen && (driver !== null || now - lookedAt < 200)) return undefined
        seen = deadLetters
        lookedAt = now
        for (const group of groupsOf(definition)) {
          const found = await firstLetter(topic, group, match as Match<unknown> | undefined)
          if (found !== undefined) return found
        }
        return undefined
      }
      return told(wait(`no dead letter of "${definition.name}"${matching(match)}`, look, gaveUp), definition)
    },
    async idle() {
      // Twice in a row: what one turn finished may have begun something new.
      let quiet = 0
      const look = async (): Promise<true | undefined> => {
        if (journal.running > 0 || (driver?.open ?? 0) > 0 || (await parts.atWork())) quiet = 0
        else quiet += 1
        return quiet >= 2 ? true : undefined
      }
      await wait('the broker does not come to rest', look, () => {
        const busy = members
          .filter(({ consumer }) => consumer.state !== 'closed')
          .map(({ consumer, group, topics }) => {
            const { running, unsettled } = consumer.stats()
            return `group "${group}" of ${topics.map(({ name }) => `"${name}"`).join(', ')} is ${consumer.state}, ${running} running, ${unsettled} unsettled`
          })
        return `${journal.running} handlers run, ${driver?.open ?? 0} calls are open${busy.length === 0 ? '' : `; ${busy.join('; ')}`}`
      })
    },
    log: (topic) => [...journal.topic(definitionOf('cannot show the log', topic).name).log],
    fail: (what, forMs) => parts.fail(what, forMs),
  }

  // Defined, not spread: `adapter` and `status` are looked up each time.
  const made = Object.defineProperties(waits as TestBroker, Object.getOwnPropertyDescriptors(broker))
  async function close(options?: Parameters<Broker['close']>[0]): Promise<void> {
    try {
      await broker.close(options)
    } finally {
      closed = true
      journal.stop()
    }
  }
  Object.defineProperties(made, { close: { value: close }, [Symbol.asyncDispose]: { value: () => close() } })
  return Object.freeze(made)
}

const gaveUp = (): string => 'nothing happens any more'
const matching = (match: unknown): string => (match === undefined ? '' : ` that is ${shown(match)}`)
