// What happens inside the process of one client.

import { randomHex } from '../clock.ts'
import { type Client, type ComparedBroker, type Connection, groupsOf, type Place } from '../compare/client.ts'
import type { Measured, Outcome, Task } from '../compare/task.ts'
import { consume, endToEnd, produce } from './closed-loop.ts'
import { fanOut } from './fan-out.ts'
import { latencies } from './open-loop.ts'
import { saturate } from './saturation.ts'
import type { Stage } from './stage.ts'

/** Runs a task with the broker's client of that name, on topics of its own that are gone afterwards. */
export async function runTask(broker: ComparedBroker, task: Task): Promise<Outcome> {
  const client = broker.clients.find(({ name }) => name === task.client)
  if (client === undefined) throw new Error(`${broker.name} has no client "${task.client}"`)
  const notes = new Set<string>()
  const on = <T>(run: (stage: Stage) => Promise<T>): Promise<T> => onTopic(broker, client, task, notes, run)
  if (task.warmUp > 0 && task.kind !== 'saturation') {
    await on(async (stage) => {
      await produce(stage, task.warmUp)
      await consume(stage, task.warmUp)
    })
  }
  return { measured: await measure(task, on), notes: [...notes] }
}

async function measure(task: Task, on: <T>(run: (stage: Stage) => Promise<T>) => Promise<T>): Promise<Readonly<Record<string, Measured>>> {
  switch (task.kind) {
    case 'throughput': {
      const [produced, consumed] = await on(async (stage) => [await produce(stage, task.messages), await consume(stage, task.messages)])
      const { faults, unsettled, received } = consumed
      // Whether what was confirmed is there is seen when it is consumed.
      return {
        produce: { ...produced, faults, unsettled, received },
        consume: consumed,
        'end to end': await on((stage) => endToEnd(stage, task.messages)),
      }
    }
    case 'slow':
      return {
        slow: await on(async (stage) => {
          await produce(stage, task.messages)
          return await consume(stage, task.messages)
        }),
      }
    case 'latency':
      return await on((stage) => latencies(stage, task))
    case 'saturation':
      return await on((stage) => saturate(stage, task))
    case 'fan-out':
      return { 'fan-out': await on((stage) => fanOut(stage, task.messages)) }
  }
}

async function onTopic<T>(
  broker: ComparedBroker,
  client: Client,
  task: Task,
  notes: Set<string>,
  run: (stage: Stage) => Promise<T>,
): Promise<T> {
  const place: Place = {
    url: task.url,
    topic: `bench.r${randomHex(6)}`,
    keyed: task.keyed,
    partitions: task.keyed ? broker.partitions.keyed : broker.partitions.unkeyed,
    groups: groupsOf(task.kind === 'fan-out' ? task.groups : 1),
    concurrency: task.kind === 'slow' ? task.lanes : 16,
    maxUnsettled: 1000,
  }
  const connection: Connection = await client.open(place)
  try {
    await connection.declare()
    return await run({ connection, place, broker, task })
  } finally {
    for (const note of connection.notes) notes.add(note)
    await connection.close()
    await broker.remove(place)
  }
}
