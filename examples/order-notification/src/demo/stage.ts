// Everything the demo needs to be there: the world outside, the services, and a connection to look at the server with.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type Broker, connect, type DeadLetter, type LogEntry, type Middleware } from '@posthorn/core'
import { notificationSent, type Order, orderPlaced } from '../topics.ts'
import type { Seen, ServiceName } from './ledger.ts'
import { type PushReceiver, startPushReceiver } from './push-receiver.ts'
import { createServices, type Services } from './services.ts'
import { type SmtpReceiver, startSmtpReceiver } from './smtp-receiver.ts'
import { planTrouble, type TroublePlan } from './trouble.ts'

export interface Stage {
  readonly orders: readonly Order[]
  readonly trouble: TroublePlan
  readonly mail: SmtpReceiver
  readonly push: PushReceiver
  readonly services: Services
  /** Answered with 201, in this order. */
  readonly accepted: string[]
  /** Calls of the push service that it said would come again, behind one that waited. */
  announced(): number
  /** How much has arrived so far, of everything together. */
  arrived(): number
  deadLetters(group: 'email' | 'push'): Promise<readonly DeadLetter[]>
  /** Hands all dead letters of a group to it again. */
  replay(group: 'email' | 'push'): Promise<{ readonly replayed: number; readonly left: number }>
  /** Messages that some group has not finished. */
  unfinished(): Promise<number>
  close(): Promise<void>
}

export interface StageOptions {
  /** What `connect` takes. */
  readonly target: string
  log(service: ServiceName | 'demo', entry: LogEntry): void
  /** Runs around every send and every handler of the service. @default none */
  readonly middleware?: ((service: ServiceName) => Middleware) | undefined
}

/** @throws if the server cannot be reached, or has messages of an earlier run that would be counted as ours */
export async function setStage(orders: readonly Order[], { target, log, middleware }: StageOptions): Promise<Stage> {
  const operator: Broker = await connect(target, { name: 'operator', log: (entry) => log('demo', entry) })
  const trouble = planTrouble(orders)
  const mail = await startSmtpReceiver(trouble.email)
  const push = await startPushReceiver(trouble.push)
  const services = createServices({ target, smtpUrl: mail.url, pushUrl: push.url, log, middleware })
  const accepted: string[] = []
  let announced = 0
  const behind = (event: unknown): void => {
    const { group, count } = event as { readonly group?: string; readonly count?: number }
    if (group === 'push') announced += count ?? 0
  }
  subscribe('posthorn:behind-waiting', behind)
  const memberships = [
    ...(['email', 'push', 'inventory', 'audit'] as const).map((group) => [orderPlaced, group] as const),
    [notificationSent, 'audit'] as const,
  ]
  const stage: Stage = {
    orders,
    trouble,
    mail,
    push,
    services,
    accepted,
    announced: () => announced,
    arrived: () =>
      accepted.length +
      mail.mails.length +
      mail.refusals +
      push.calls.length +
      push.refused.size +
      services.audited.length +
      services.booked.length,
    async deadLetters(group) {
      const letters: DeadLetter[] = []
      for await (const letter of operator.deadLetters(orderPlaced, group).list()) letters.push(letter)
      return letters
    },
    replay: (group) => operator.deadLetters(orderPlaced, group).replay({ all: true }),
    async unfinished() {
      const lags = await Promise.all(memberships.map(([topic, group]) => operator.lag(topic, group)))
      return lags.reduce((sum, { backlog, unsettled }) => sum + (backlog ?? 0) + (unsettled ?? 0), 0)
    },
    async close() {
      await services.stopAll()
      unsubscribe('posthorn:behind-waiting', behind)
      await operator.close()
      await Promise.all([mail.close(), push.close()])
    },
  }
  try {
    await operator.declare(orderPlaced)
    await operator.declare(notificationSent)
    const dead = (await stage.deadLetters('email')).length + (await stage.deadLetters('push')).length
    const left = await stage.unfinished()
    if (dead + left > 0)
      throw new Error(
        `the server has ${left} unfinished messages and ${dead} dead letters of another run, which would be counted; give an empty one`,
      )
    return stage
  } catch (error) {
    await stage.close()
    throw error
  }
}

/** The order id of a dead letter. */
export function orderIdOf(letter: DeadLetter): string {
  return (letter.value as Partial<Order> | undefined)?.orderId ?? letter.id
}

export type Settled = Pick<Seen, 'dead' | 'replayed'>

/** What was seen, ready to be counted. */
export function seenOn({ accepted, announced, mail, push, services }: Stage, { dead, replayed }: Settled): Seen {
  return {
    accepted,
    mailed: mail.mails.map(({ orderId }) => orderId),
    pushed: push.calls.map(({ orderId }) => orderId),
    audited: services.audited,
    booked: services.booked,
    retried: { email: mail.deferred, push: push.refused },
    dead,
    replayed,
    announced: announced(),
  }
}
