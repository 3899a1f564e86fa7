// What happened in the example, written so that two brokers can be compared: per service and message what was seen of it, in order.
// How messages interleave is left out, because it differs from run to run on one broker, too.
import type { HandleContext, LogEntry, Middleware, SendContext } from '@posthorn/core'
import type { ServiceName } from '../src/demo/ledger.ts'
import { replay } from '../src/demo/replay.ts'
import { orderIdOf, type Stage, setStage } from '../src/demo/stage.ts'
import { waitFor } from '../src/demo/wait.ts'
import type { Order } from '../src/topics.ts'

/** By service, or by who else saw something; then by message or order; the events in their order. */
export type GoldenLog = Record<string, Record<string, readonly string[]>>

/** Runs the five services on the broker at this URL: every order, the trouble, the dead letters, their replay. */
export async function goldenLog(target: string, orders: readonly Order[]): Promise<GoldenLog> {
  const log = new Map<string, Map<string, string[]>>()
  const write = (who: string, what: string, event: string): void => {
    const events = log.get(who) ?? new Map<string, string[]>()
    log.set(who, events)
    const list = events.get(what) ?? []
    events.set(what, list)
    list.push(event)
  }
  const warnings: LogEntry[] = []
  const stage = await setStage(orders, {
    target,
    log: (_, entry) => void (entry.level === 'error' && warnings.push(entry)),
    middleware: (service) => recorder(service, write),
  })
  try {
    for (const name of ['inventory', 'audit', 'push', 'email', 'order'] as const) await stage.services.start(name)
    await tellAll(stage, write)
  } finally {
    await stage.close()
  }
  for (const { orderId, to, subject, text } of stage.mail.mails) write('mail server', orderId, `${to}: ${subject}. ${text}`)
  for (const { orderId, userId, text } of stage.push.calls) write('push receiver', orderId, `${userId}: ${text}`)
  for (const entry of stage.services.booked) write('inventory', `book of ${entry.orderId}`, JSON.stringify(entry))
  for (const { what, orderId, ...more } of stage.services.audited) write('audit', `${what} ${orderId}`, JSON.stringify(more))
  for (const { event, message } of warnings) write('log', event, message)
  return Object.fromEntries([...log].map(([who, events]) => [who, Object.fromEntries([...events].sort(byName))]))
}

async function tellAll(stage: Stage, write: (who: string, what: string, event: string) => void): Promise<void> {
  const { orders, services, mail, push, trouble } = stage
  const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> => {
    if (!(await waitFor(condition, stage.arrived, { patienceMs: 20_000 }))) throw new Error(`it did not happen: ${what}`)
  }
  const onAnswer = ({ orderId }: Order, { status }: { status: number }): void => {
    if (status === 201) stage.accepted.push(orderId)
    write('customer', orderId, `answered with ${status}`)
  }
  await replay(orders, { url: services.ordersUrl, concurrency: 16, onAnswer })
  await until('every mail and call that can arrive has arrived', async () => {
    const { email, push: pushes } = trouble
    if (mail.mails.length < orders.length - email.always.size || push.calls.length < orders.length - pushes.always.size) return false
    const [mails, calls] = await Promise.all([stage.deadLetters('email'), stage.deadLetters('push')])
    return mails.length >= email.always.size && calls.length >= pushes.always.size
  })
  for (const group of ['email', 'push'] as const) {
    for (const letter of await stage.deadLetters(group)) {
      const { reason, attempts, error, topic, key, id } = letter
      write(`dead letters of ${group}`, orderIdOf(letter), JSON.stringify({ topic, key, id, reason, attempts, error, value: letter.value }))
    }
  }
  mail.fix()
  push.fix()
  for (const group of ['email', 'push'] as const) write(`dead letters of ${group}`, 'all', JSON.stringify(await stage.replay(group)))
  await until('everything has arrived', async () => {
    const all = orders.length
    const arrived =
      mail.mails.length >= all && push.calls.length >= all && services.booked.length >= all && services.audited.length >= 3 * all
    return arrived && (await stage.unfinished()) === 0
  })
}

/** Everything of a message that an application can see, and how each attempt ended. What is random in it is left out. */
function recorder(service: ServiceName, write: (who: string, what: string, event: string) => void): Middleware {
  return async (context, next) => {
    if (context.kind === 'send') return recordSend(service, context, next, write)
    return recordHandling(service, context, next, write)
  }
}

async function recordSend(
  service: string,
  context: SendContext,
  next: () => Promise<void>,
  write: (...all: [string, string, string]) => void,
) {
  const { topic, id, key, value } = context
  await next()
  write(service, `${topic} ${id}`, `sent ${JSON.stringify({ key, value })}`)
}

async function recordHandling(
  service: string,
  context: HandleContext,
  next: () => Promise<void>,
  write: (...all: [string, string, string]) => void,
) {
  const [message] = context.messages
  if (message === undefined) return next()
  const { topic, id, key, value, type, source, attempt, headers } = message
  const own = Object.entries(headers).filter(([name]) => name !== 'traceparent')
  const seen = JSON.stringify({ group: context.group, attempt, key, type, source, traced: 'traceparent' in headers, own, value })
  const done = (ending: string): void => write(service, `${topic} ${id}`, `${seen} ${ending}`)
  try {
    await next()
  } catch (error) {
    done(`failed: ${error instanceof Error ? error.message.replace(/127\.0\.0\.1:\d+/g, 'here') : String(error)}`)
    throw error
  }
  done(context.decision === undefined ? 'handled' : JSON.stringify(context.decision))
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0)
