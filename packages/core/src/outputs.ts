import { invalid } from './check.ts'
import type { Conclusions } from './conclude.ts'
import type { Consumption } from './consumption.ts'
import type { Entry } from './entry.ts'
import { MessagingError } from './errors.ts'
import { forwardId } from './forward-id.ts'
import type { Forwarder, IncomingMessage } from './incoming-message.ts'
import { outputOf } from './output-of.ts'
import { type Prepared, prepare } from './prepare.ts'
import { definitionOf, type TopicDefinition } from './topic.ts'

/** Milliseconds within which outputs must be confirmed. */
const confirmWithinMs = 30_000

interface Output {
  readonly topic: TopicDefinition
  readonly prepared: Prepared | Promise<Prepared>
}

/** What handlers forward: queued while they run, confirmed (or made one with the settlement) before their message is settled. */
export interface Outputs {
  readonly queue: Forwarder
  /** Sends and confirms all; rejects if one is not known to be stored. */
  send(entry: Entry, message: IncomingMessage): Promise<void>
  /** The handler succeeded: confirms its outputs, then settles; or fails the attempt. */
  conclude(entry: Entry, message: IncomingMessage, conclusions: Conclusions): void
}

export function createOutputs(consumption: Consumption): Outputs {
  const { context, plan } = consumption

  const queue: Forwarder = (message, topic, value, options) => {
    const attempted = `cannot forward from "${message.topic}" (group "${plan.group}")`
    if (plan.settleFirst) throw invalid(attempted, `a consumer with settle: 'before' has nothing to settle outputs with. use a producer`)
    if (message.ended)
      throw new MessagingError('CLOSED', `${attempted}: the handler of message ${message.id} has ended. forward before it returns`, {
        outcome: 'failed',
      })
    const target = definitionOf(attempted, topic)
    if (plan.atomicTo !== undefined && !plan.atomicTo.has(target.name)) {
      throw invalid(attempted, `"${target.name}" is not among the topics of "forward.to", so it cannot be part of the atomic step`)
    }
    const content = message.content()
    const prepared = prepare(context, target, value, options, {
      id: message.id,
      headers: content.transport ?? {},
      correlationId: content.attributes.correlationid,
    })
    // Looked at when the handler has ended; until then a rejection is nobody's surprise.
    if (prepared instanceof Promise) prepared.catch(() => undefined)
    message.outputs ??= []
    message.outputs.push({ topic: target, prepared } satisfies Output)
  }

  // The same message handled again makes the same ids; equal outputs of one handler are told apart by their ordinal.
  async function identified(
    entry: Entry,
    message: IncomingMessage,
  ): Promise<readonly { readonly output: Output; readonly ready: Prepared }[]> {
    const ordinals = new Map<string, number>()
    const all: { readonly output: Output; readonly ready: Prepared }[] = []
    for (const output of message.outputs as Output[]) {
      const ready = await output.prepared
      const parts = {
        sourceTopic: message.topic,
        source: message.source ?? '',
        id: entry.id,
        group: plan.group,
        target: output.topic.name,
        key: ready.content.key,
        body: ready.content.body,
      }
      const equal = forwardId({ ...parts, ordinal: 0 })
      const ordinal = ordinals.get(equal) ?? 0
      ordinals.set(equal, ordinal + 1)
      const id = ordinal === 0 ? equal : forwardId({ ...parts, ordinal })
      all.push({ output, ready: { ...ready, content: { ...ready.content, id } } })
    }
    return all
  }

  async function send(entry: Entry, message: IncomingMessage): Promise<void> {
    const outputs = await identified(entry, message)
    const deadline = context.clock.monotonic() + confirmWithinMs
    await Promise.all(
      outputs.map(({ output, ready }) =>
        context.sender.send({
          place: { topic: output.topic.name, role: 'main', group: null },
          partition: ready.partition,
          content: ready.content,
          due: ready.due,
          slot: null,
          deadline,
          retryUnknown: true,
          allowed: () => entry.state !== 'gone' && entry.runner.alive(),
          attempted: `cannot forward to "${output.topic.name}"`,
        }),
      ),
    )
  }

  async function atomic(entry: Entry, message: IncomingMessage): Promise<void> {
    const outputs = await identified(entry, message)
    entry.outputs = outputs.map(({ output, ready }) => outputOf(context, output.topic.name, ready))
  }

  return {
    queue,
    send,
    conclude(entry, message, conclusions) {
      const work = plan.atomicTo === undefined ? send(entry, message) : atomic(entry, message)
      work.then(
        () => {
          if (entry.state !== 'gone') conclusions.done(entry)
          else if (entry.outputs === null) consumption.finished.add(entry.identity)
        },
        (error) => {
          if (entry.state !== 'gone') conclusions.failed(entry, error)
        },
      )
    },
  }
}
