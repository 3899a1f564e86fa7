// A confirm channel that publishes, and what its confirms, returns and end say about each message.

import type { Outgoing } from '@posthorn/core/adapter'
import type { ConfirmChannel, Message } from 'amqplib'
import type { Wire } from './connections.ts'
import { explain, fault, refused } from './explain.ts'
import { framesOf } from './frames.ts'
import type { Failure, Report } from './publish-report.ts'
import { createUnconfirmed } from './unconfirmed.ts'

/** One message on its way, and whom to tell. */
export interface Sent {
  readonly message: Outgoing
  readonly exchange: string
  readonly routingKey: string
  readonly report: Report
  readonly index: number
}

/** A confirm channel of one topic. */
export interface Outlet {
  readonly wire: Wire
  readonly channel: ConfirmChannel
  /** The channel is over. */
  readonly ended: boolean
  /** A first message was confirmed: the exchange is there, and we may write to it. */
  readonly proven: boolean
  readonly proving: Promise<void> | null
  /** Messages without an outcome. */
  readonly open: number
  usedAt: number
  /** Writes one message, which leaves with the next `flush` at the latest. Its report is told once. */
  write(sent: Sent): void
  flush(): void
  /** Writes the first message of a channel, which goes alone: what the server then refuses is known to be refused. Resolves with its outcome. */
  prove(sent: Sent): Promise<void>
  /** The channel ended, with the server's error or null. */
  end(error: unknown): void
}

/** The bound on a message: ours, or the server's as learnt from a refusal. */
export interface SizeLimit {
  messageBytes: number
}

interface End {
  readonly error: unknown
  /** One message alone was on its way: a refusal was that one's. */
  readonly alone: boolean
}

interface Confirmed {
  readonly deliveryTag: number
  readonly multiple: boolean
}

/** `unroutable` is called for each message that reached no queue. */
export function createOutlet(wire: Wire, channel: ConfirmChannel, limit: SizeLimit, unroutable: () => void): Outlet {
  const frames = framesOf(channel)
  const unconfirmed = createUnconfirmed<Sent>()
  /** Returned messages whose confirm is still to come, by name of the message. */
  const returned = new Map<string, number>()
  let over: End | null = null
  let proven = false
  let proof: { readonly sent: Sent; readonly promise: Promise<void>; readonly finish: () => void } | null = null

  function tell(sent: Sent, failure: Failure | null): void {
    const proved = proof !== null && proof.sent === sent ? proof : null
    if (proved !== null) {
      proof = null
      if (failure === null || explain(failure.error).code === 'NOT_FOUND') proven = over === null
    }
    sent.report.done(sent.index, failure)
    proved?.finish()
  }

  const failed = (sent: Sent, error: unknown): void => tell(sent, { index: sent.index, outcome: 'failed', error })
  const unknown = (sent: Sent, error: unknown): void => tell(sent, { index: sent.index, outcome: 'unknown', error })

  function acknowledged(sent: Sent): void {
    if (returned.size === 0 || !wasReturned(sent)) return tell(sent, null)
    failed(sent, fault('NOT_FOUND', `no queue takes what is sent to ${where(sent)}`, 'failed'))
  }

  function refusedByServer(sent: Sent): void {
    unknown(sent, fault('UNAVAILABLE', 'the server did not take the message', 'unknown'))
  }

  // A message that was returned is confirmed all the same, afterwards.
  function wasReturned({ exchange, routingKey, message }: Sent): boolean {
    const name = nameOf(exchange, routingKey, message.id)
    const count = returned.get(name) ?? 0
    if (count > 1) returned.set(name, count - 1)
    else returned.delete(name)
    return count > 0
  }

  function lost(sent: Sent, { error, alone }: End): void {
    const bound = limitIn(error)
    if (bound !== null) {
      limit.messageBytes = Math.min(limit.messageBytes, bound)
      if (bytesOf(sent.message) > bound) return failed(sent, oversize(bound, error))
      return unknown(sent, gone(error))
    }
    // The server ended the channel, so it has seen this message and refused it; a lost connection leaves that open.
    if (!alone || !isRefusal(error)) return unknown(sent, error)
    // What was there before can be made again, and the message stored after all.
    failed(sent, proven && explain(error).code === 'NOT_FOUND' ? missing(error, where(sent)) : denied(error, where(sent)))
  }

  function write(sent: Sent): void {
    if (bytesOf(sent.message) > limit.messageBytes) return failed(sent, oversize(limit.messageBytes, null))
    if (over !== null) return failed(sent, refused(explain(over.error).retryable ? over.error : gone(over.error)))
    try {
      frames.add(sent.exchange, sent.routingKey, sent.message)
    } catch (error) {
      return failed(sent, unwritable(error))
    }
    unconfirmed.add(sent)
  }

  channel.on('ack', ({ deliveryTag, multiple }: Confirmed) => {
    wire.heard()
    unconfirmed.confirm(deliveryTag, multiple, acknowledged)
  })
  channel.on('nack', ({ deliveryTag, multiple }: Confirmed) => {
    wire.heard()
    unconfirmed.confirm(deliveryTag, multiple, refusedByServer)
  })
  channel.on('return', ({ fields, properties }: Message) => {
    const name = nameOf(fields.exchange, fields.routingKey, String(properties.headers?.cloudEvents_id))
    returned.set(name, (returned.get(name) ?? 0) + 1)
    unroutable()
  })

  return {
    wire,
    channel,
    usedAt: 0,
    get ended() {
      return over !== null
    },
    get proven() {
      return proven
    },
    get proving() {
      return proof?.promise ?? null
    },
    get open() {
      return unconfirmed.size
    },
    write,
    flush() {
      if (over === null) frames.flush()
    },
    prove(sent) {
      let finish = (): void => {}
      const promise = new Promise<void>((resolve) => {
        finish = resolve
      })
      proof = { sent, promise, finish }
      write(sent)
      frames.flush()
      return promise
    },
    end(error) {
      if (over !== null) return
      const ended: End = { error, alone: unconfirmed.size === 1 && !wire.lost.aborted }
      over = ended
      for (const sent of unconfirmed.drain()) lost(sent, ended)
    },
  }
}

const bytesOf = ({ body }: Outgoing): number => body?.length ?? 0

/** What a return and a confirm have in common. */
const nameOf = (exchange: string, routingKey: string, id: string): string => `${exchange}\n${routingKey}\n${id}`

const where = ({ exchange, routingKey }: Sent): string => (exchange === '' ? `"${routingKey}"` : `exchange "${exchange}"`)

function isRefusal(error: unknown): boolean {
  const { code } = explain(error)
  return code !== 'UNAVAILABLE' && code !== 'INTERNAL'
}

/** What the server refused of one message that it surely did not store. */
function denied(error: unknown, to: string): Error {
  return explain(error).code === 'UNAUTHORIZED'
    ? fault('UNAUTHORIZED', `the server does not let us publish to ${to}: ${error instanceof Error ? error.message : ''}`, 'failed', error)
    : refused(error)
}

const missing = (cause: unknown, to: string): Error => fault('UNAVAILABLE', `${to} is not there any more`, 'failed', cause)

function limitIn(error: unknown): number | null {
  const found = /message size \d+ (?:is )?larger than (?:configured )?max(?:imum)? size (\d+)/i.exec(
    error instanceof Error ? error.message : '',
  )
  return found?.[1] === undefined ? null : Number(found[1])
}

const oversize = (limit: number, cause: unknown): Error =>
  fault(
    'TOO_LARGE',
    `at most ${limit} bytes are taken${cause === null ? '' : ' (max_message_size of the server)'}`,
    'failed',
    cause ?? undefined,
  )

/** The channel ended for a reason that was another message's. */
const gone = (cause: unknown): Error => fault('UNAVAILABLE', 'the channel was closed because of another message', 'unknown', cause)

// What cannot be written: a header block over 64 KiB, a name over 255 bytes.
function unwritable(error: unknown): Error {
  const text = error instanceof Error ? error.message : String(error)
  return error instanceof RangeError
    ? fault('TOO_LARGE', `its headers do not fit into one frame: ${text}`, 'failed', error)
    : fault('INVALID_MESSAGE', text, 'failed', error)
}
