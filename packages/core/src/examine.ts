import type { BrokerContext } from './context.ts'
import type { Delivery, Received } from './contract.ts'
import { textOf } from './errors.ts'
import { tooManyHeaders } from './headers.ts'
import { readContent } from './incoming.ts'
import type { ReceivePlan } from './receive-plan.ts'
import type { TopicDefinition } from './topic.ts'

/** Why a delivery does not reach a handler. */
export interface Refusal {
  readonly reason: 'undecodable' | 'invalid' | 'too-large' | 'crash-loop' | 'no-id'
  readonly error: string
}
export interface Examined {
  readonly content: Received | null
  readonly id: string
  readonly lane: string | null
  readonly failures: number
  readonly firstFailedAt: number
  /** Wall clock milliseconds before which it must not be handled: its wait was longer than the server holds a message. 0: now. */
  readonly dueAt: number
  readonly refusal: Refusal | null
}

/** Reads what must be known of a delivery before it may wait in its lane: identity, key, attempt, and whether it can be handled at all. */
export function examine(context: BrokerContext, topic: TopicDefinition, plan: ReceivePlan, delivery: Delivery): Examined {
  const raw = delivery.content
  if ('undecodable' in raw) return refused(context, topic, delivery, null, { reason: 'undecodable', error: raw.undecodable })
  let content: Received
  try {
    content = readContent(context.capabilities, raw, topic.maxBytes)
  } catch (error) {
    return refused(context, topic, delivery, raw, { reason: 'undecodable', error: textOf(error) })
  }
  if (content.body !== null && content.body.length > topic.maxBytes) {
    return refused(context, topic, delivery, content, {
      reason: 'too-large',
      error: `the body has ${content.body.length} bytes; the topic takes ${topic.maxBytes} (maxBytes)`,
    })
  }
  if (content.headers !== null && tooManyHeaders(content.headers)) {
    return refused(context, topic, delivery, content, { reason: 'undecodable', error: 'more than 64 headers, or more than 8 KiB of them' })
  }
  let { id } = content
  let refusal: Refusal | null = null
  if (id === null || id === '') {
    const position = delivery.position()
    if (position === null && plan.once !== undefined) {
      refusal = { reason: 'no-id', error: 'a message without an id cannot be handled once: a repeat of it could not be recognised' }
    }
    id = position === null ? context.newId() : `${topic.name}@${position}`
  }
  if (plan.maxDeliveries !== undefined && delivery.deliveries !== null && delivery.deliveries > plan.maxDeliveries) {
    refusal = {
      reason: 'crash-loop',
      error: `handed out ${delivery.deliveries} times without an outcome, above "maxDeliveries" ${plan.maxDeliveries}`,
    }
  }
  const attempt = delivery.parked ? wholeNumber(content.transport?.['ph-attempt']) : 0
  return {
    content,
    id,
    lane: content.key !== null && topic.key !== undefined && !plan.unordered ? content.key : null,
    failures: attempt > 1 ? attempt - 1 : 0,
    firstFailedAt: delivery.parked ? wholeNumber(content.transport?.['ph-first']) : 0,
    dueAt: delivery.parked ? wholeNumber(content.transport?.['ph-due']) : 0,
    refusal,
  }
}

function refused(context: BrokerContext, topic: TopicDefinition, delivery: Delivery, content: Received | null, refusal: Refusal): Examined {
  const position = delivery.position()
  const id = content?.id || (position === null ? context.newId() : `${topic.name}@${position}`)
  return {
    content,
    id,
    lane: null,
    failures: 0,
    firstFailedAt: 0,
    dueAt: 0,
    refusal,
  }
}

function wholeNumber(text: string | undefined): number {
  const value = text === undefined ? 0 : Number(text)
  return Number.isSafeInteger(value) && value > 0 ? value : 0
}
