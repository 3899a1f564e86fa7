// What the methods of AMQP 0-9-1 ask for, and which of them are answers.

import type { Operation } from '../harness.ts'

/** A method of the client. */
export interface AmqpMethod {
  readonly name: string
  readonly operation: Operation | undefined
  /** An answer comes, in the order of the requests of its channel. */
  readonly awaits: boolean
  /** Where its flags are, and which of them says that no answer is wanted. */
  readonly flags?: { readonly from: number; readonly shortStrings: number; readonly noWait: number; readonly passive?: boolean }
}

/** Class and method number in one. */
export const idOf = (classId: number, methodId: number): number => classId * 65_536 + methodId

const asked = (name: string, operation: Operation | undefined, flags?: AmqpMethod['flags']): AmqpMethod =>
  flags === undefined ? { name, operation, awaits: true } : { name, operation, awaits: true, flags }
const told = (name: string, operation: Operation | undefined): AmqpMethod => ({ name, operation, awaits: false })
/** A reserved number, then names, then flags. */
const afterNames = (shortStrings: number, noWait: number, passive = false): NonNullable<AmqpMethod['flags']> => ({
  from: 6,
  shortStrings,
  noWait,
  passive,
})

/** Methods of the client that ask for something, by `idOf`. */
export const requests: ReadonlyMap<number, AmqpMethod> = new Map([
  [idOf(10, 11), asked('connection.start-ok', 'connect')],
  [idOf(10, 21), asked('connection.secure-ok', 'connect')],
  [idOf(10, 40), asked('connection.open', 'connect')],
  [idOf(10, 50), asked('connection.close', 'leave')],
  [idOf(10, 70), asked('connection.update-secret', 'connect')],
  [idOf(20, 10), asked('channel.open', 'connect')],
  [idOf(20, 20), asked('channel.flow', undefined)],
  [idOf(20, 40), asked('channel.close', 'release')],
  [idOf(40, 10), asked('exchange.declare', 'declare', afterNames(2, 16, true))],
  [idOf(40, 20), asked('exchange.delete', 'remove', afterNames(1, 2))],
  [idOf(40, 30), asked('exchange.bind', 'declare', afterNames(3, 1))],
  [idOf(40, 40), asked('exchange.unbind', 'remove', afterNames(3, 1))],
  [idOf(50, 10), asked('queue.declare', 'declare', afterNames(1, 16, true))],
  [idOf(50, 20), asked('queue.bind', 'declare', afterNames(3, 1))],
  [idOf(50, 30), asked('queue.purge', 'remove', afterNames(1, 1))],
  [idOf(50, 40), asked('queue.delete', 'remove', afterNames(1, 4))],
  [idOf(50, 50), asked('queue.unbind', 'remove')],
  [idOf(60, 10), asked('basic.qos', 'subscribe')],
  [idOf(60, 20), asked('basic.consume', 'subscribe', afterNames(2, 8))],
  [idOf(60, 30), asked('basic.cancel', 'release', { from: 4, shortStrings: 1, noWait: 1 })],
  [idOf(60, 40), told('basic.publish', 'publish')],
  [idOf(60, 70), asked('basic.get', 'browse')],
  [idOf(60, 80), told('basic.ack', 'settle')],
  [idOf(60, 90), told('basic.reject', 'settle')],
  [idOf(60, 110), asked('basic.recover', 'read')],
  [idOf(60, 120), told('basic.nack', 'settle')],
  [idOf(85, 10), asked('confirm.select', 'connect', { from: 4, shortStrings: 0, noWait: 1 })],
  [idOf(90, 10), asked('tx.select', 'connect')],
  [idOf(90, 20), asked('tx.commit', 'publish')],
  [idOf(90, 30), asked('tx.rollback', undefined)],
])

/** Methods of the server that answer the oldest request of their channel. */
export const answers: ReadonlySet<number> = new Set(
  [
    [10, [10, 20, 30, 41, 51, 71]],
    [20, [11, 21, 41]],
    [40, [11, 21, 31, 51]],
    [50, [11, 21, 31, 41, 51]],
    [60, [11, 21, 31, 71, 72, 111]],
    [85, [11]],
    [90, [11, 21, 31]],
  ].flatMap(([classId, methods]) => (methods as number[]).map((method) => idOf(classId as number, method))),
)

type Named =
  | 'connectionClose'
  | 'channelClose'
  | 'channelCloseOk'
  | 'publish'
  | 'returned'
  | 'deliver'
  | 'getOk'
  | 'ack'
  | 'nack'
  | 'confirmSelect'

/** Methods that are more than a request and its answer. */
export const ids: Readonly<Record<Named, number>> = {
  connectionClose: idOf(10, 50),
  channelClose: idOf(20, 40),
  channelCloseOk: idOf(20, 41),
  publish: idOf(60, 40),
  returned: idOf(60, 50),
  deliver: idOf(60, 60),
  getOk: idOf(60, 71),
  ack: idOf(60, 80),
  nack: idOf(60, 120),
  confirmSelect: idOf(85, 10),
}
