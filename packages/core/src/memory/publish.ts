// Publishing over a link: what is known about a batch when the link fails, the caller gives up, or the server has no room.

import type { Outgoing, PublishReport } from '../contract.ts'
import { onAbort } from './abort.ts'
import { fault } from './explain.ts'
import type { Connection } from './link.ts'
import type { SessionCore } from './session-core.ts'
import { failedReport } from './store.ts'

const cancelled = (): Error => fault('CANCELLED', 'embedded broker: the publish was given up', 'unknown')

/** Rough size of a batch on the wire. */
function weigh(batch: readonly Outgoing[]): number {
  let bytes = 0
  for (const { body } of batch) bytes += 128 + (body?.length ?? 0)
  return bytes
}

/** Stores a batch. Never rejects. */
export function publish(core: SessionCore, batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport> {
  const { server } = core
  const { limits } = server.capabilities
  if (core.closed()) return refuse(batch, fault('CLOSED', 'embedded broker: the session is closed', 'failed'))
  if (signal.aborted) return refuse(batch, fault('CANCELLED', 'embedded broker: the publish was given up before it began', 'failed'))
  if (batch.length > limits.batch) {
    return refuse(
      batch,
      fault('INVALID_ARGUMENT', `embedded broker: a batch of ${batch.length} is over the limit of ${limits.batch}`, 'failed'),
    )
  }
  const connection = core.connection()
  if (connection === null || !connection.direct) return publishFar(core, batch, signal)
  server.count('publish')
  const report = server.publish(connection, batch, signal, () => blocked(core, batch))
  return report instanceof Promise ? waitFor(core, batch, signal, connection.hold('publish', report)) : Promise.resolve(report)
}

const refuse = (batch: readonly Outgoing[], error: Error): Promise<PublishReport> =>
  Promise.resolve(failedReport(batch.length, 'failed', error))

function blocked(core: SessionCore, batch: readonly Outgoing[]): void {
  const topic = batch[0]?.place.topic
  core.context.event('blocked', { ...(topic === undefined ? {} : { topic }), note: 'the server has no room; the publish waits' })
}

async function publishFar(core: SessionCore, batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport> {
  let open: Connection
  try {
    open = await core.ready(signal)
  } catch (error) {
    // Nothing left this process, so nothing can be stored.
    return failedReport(batch.length, 'failed', error)
  }
  const { server } = core
  const request = open.request('publish', weigh(batch), 0, () =>
    server.publish(open, batch, signal, () => open.push(() => blocked(core, batch))),
  )
  return waitFor(core, batch, signal, request)
}

function waitFor(
  core: SessionCore,
  batch: readonly Outgoing[],
  signal: AbortSignal,
  request: Promise<PublishReport>,
): Promise<PublishReport> {
  return new Promise((resolve) => {
    const giveUp = (): void => resolve(failedReport(batch.length, 'unknown', cancelled()))
    const forget = onAbort(signal, giveUp)
    if (signal.aborted) giveUp()
    core
      .open(request)
      .catch((error: unknown) => failedReport(batch.length, 'unknown', error))
      .then((report) => {
        forget()
        resolve(report)
      })
  })
}
