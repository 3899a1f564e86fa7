// What happens inside the process of one client.

import { monotonic, processorMs, randomHex, sleep } from '../clock.ts'
import { createLedger, type Ledger } from '../ledger.ts'
import { keys, laneOf, numberOf, type Work, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'
import type { Client, ComparedBroker, Connection, Place } from './client.ts'
import { measureLatency } from './latency.ts'
import { readiness } from './readiness.ts'
import type { Measured, Outcome, Task } from './task.ts'

// A run in which nothing moved for so long is over, whatever is missing.
const stallMs = 15_000

/** Runs a task with the broker's client of that name, on topics of its own that are gone afterwards. */
export async function runTask(broker: ComparedBroker, task: Task): Promise<Outcome> {
  const client = broker.clients[task.client]
  const notes = new Set<string>()
  const measured: Record<string, Measured> = {}
  if (task.warmUp > 0) {
    await onTopic(broker, client, task, notes, async (place, connection) => {
      await produce(connection, task, task.warmUp)
      await consume(connection, place, broker, task, task.warmUp)
    })
  }
  if (task.kind === 'throughput') {
    await onTopic(broker, client, task, notes, async (place, connection) => {
      const produced = await produce(connection, task, task.messages)
      const consumed = await consume(connection, place, broker, task, task.messages)
      // Whether what was confirmed is there is seen when it is consumed.
      measured.produce = { ...produced, faults: consumed.faults, unsettled: consumed.unsettled }
      measured.consume = consumed
    })
    await onTopic(broker, client, task, notes, async (place, connection) => {
      measured['end to end'] = await endToEnd(connection, place, broker, task, task.messages)
    })
  } else if (task.kind === 'slow') {
    await onTopic(broker, client, task, notes, async (place, connection) => {
      await produce(connection, task, task.messages)
      measured.slow = await consume(connection, place, broker, task, task.messages)
    })
  } else {
    await onTopic(broker, client, task, notes, async (place, connection) => {
      measured.latency = await measureLatency(connection, task, () => unsettledOn(broker, place))
    })
  }
  return { measured, notes: [...notes] }
}

async function onTopic(
  broker: ComparedBroker,
  client: Client,
  task: Task,
  notes: Set<string>,
  run: (place: Place, connection: Connection) => Promise<void>,
): Promise<void> {
  const place: Place = {
    url: task.url,
    topic: `bench.r${randomHex(6)}`,
    keyed: task.keyed,
    partitions: task.keyed ? broker.partitions.keyed : broker.partitions.unkeyed,
    concurrency: task.kind === 'slow' ? task.lanes : 16,
    maxUnsettled: 1000,
  }
  const connection = await client.open(place)
  try {
    await connection.declare()
    await run(place, connection)
  } finally {
    for (const note of connection.notes) notes.add(note)
    await connection.close()
    await broker.remove(place)
  }
}

async function produce(connection: Connection, task: Task, messages: number): Promise<Omit<Measured, 'faults' | 'unsettled'>> {
  collectGarbage()
  const make = workOf(task.bytes, lanesOf(task))
  const since = monotonic()
  const processor = processorMs()
  await connection.sendAll(messages, make)
  return { messages, wallMs: monotonic() - since, processorMs: processorMs() - processor }
}

async function consume(connection: Connection, place: Place, broker: ComparedBroker, task: Task, messages: number): Promise<Measured> {
  collectGarbage()
  const ledger = createLedger(messages, lanesOf(task))
  const seen = watch(ledger, task, messages)
  const consuming = await connection.consume(seen.handle)
  await seen.all
  const took = seen.took()
  await consuming.close()
  return { ...took, messages, faults: ledger.faults(messages), unsettled: await unsettledOn(broker, place) }
}

async function endToEnd(connection: Connection, place: Place, broker: ComparedBroker, task: Task, messages: number): Promise<Measured> {
  collectGarbage()
  const ledger = createLedger(messages, lanesOf(task))
  const seen = watch(ledger, task, messages)
  const ready = readiness()
  const consuming = await connection.consume((work) => (numberOf(work) < 0 ? ready.handled() : seen.handle(work)))
  await ready.probe(connection)
  const since = monotonic()
  const processor = processorMs()
  await connection.sendAll(messages, workOf(task.bytes, lanesOf(task)))
  await seen.all
  const { until, processorUntil } = seen.took()
  await consuming.close()
  return {
    messages,
    wallMs: until - since,
    processorMs: processorUntil - processor,
    faults: ledger.faults(messages),
    unsettled: await unsettledOn(broker, place),
  }
}

/** Ticks off what is handled, and knows what it took from the first message to the last. */
function watch(ledger: Ledger, task: Task, messages: number) {
  let since = 0
  let processorSince = 0
  let until = 0
  let processorUntil = 0
  let finish: () => void = () => undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  function tick(work: Work): void {
    ledger.handled(numberOf(work), task.keyed ? laneOf(work) : -1)
    if (ledger.count === messages) {
      until = monotonic()
      processorUntil = processorMs()
      finish()
    }
  }
  function start(): void {
    since = monotonic()
    processorSince = processorMs()
  }
  const handle =
    task.kind === 'slow'
      ? async (work: Work): Promise<void> => {
          if (since === 0) start()
          await sleep(task.handlerMs)
          tick(work)
        }
      : (work: Work): void => {
          if (since === 0) start()
          tick(work)
        }
  const all = Promise.race([
    finished,
    settledDown(
      () => ledger.count >= messages,
      () => ledger.count,
      stallMs,
    ),
  ])
  return {
    handle,
    all,
    took() {
      const end = until === 0 ? monotonic() : until
      const processorEnd = until === 0 ? processorMs() : processorUntil
      return { wallMs: end - since, processorMs: processorEnd - processorSince, until: end, processorUntil: processorEnd }
    },
  }
}

const lanesOf = (task: Task): number => (task.kind === 'slow' ? task.lanes : keys)

// What a closing client gives back, or has just acknowledged, may take the server a moment.
async function unsettledOn(broker: ComparedBroker, place: Place): Promise<number> {
  let left = await broker.unsettled(place)
  for (let look = 0; left > 0 && look < 20; look++) {
    await sleep(100)
    left = await broker.unsettled(place)
  }
  return left
}

function collectGarbage(): void {
  ;(globalThis as { gc?: () => void }).gc?.()
}
