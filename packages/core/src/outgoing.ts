import type { Capabilities, Content, Outgoing, Place } from './contract.ts'
import { structuredContentType, toStructured } from './structured.ts'

/** Where one message goes, as the adapter is told. */
export interface Destination {
  readonly place: Place
  readonly partition: number | null
  readonly delayMs: number
  readonly slot: string | null
}

/**
 * The adapter's form of a message. Where the wire has no headers the whole message travels as one CloudEvents JSON text
 * in the body, and nothing is left beside it but what routes it.
 */
export function outgoing(capabilities: Capabilities, content: Content, to: Destination): Outgoing {
  return capabilities.headers === 'envelope' ? enveloped(content, to) : plain(content, content.transport, to)
}

/** The same with other transport headers: a copy on its way through a delay lane. */
export function outgoingCopy(capabilities: Capabilities, content: Content, transport: Content['transport'], to: Destination): Outgoing {
  return capabilities.headers === 'envelope' ? enveloped({ ...content, transport }, to) : plain(content, transport, to)
}

function plain(content: Content, transport: Content['transport'], to: Destination): Outgoing {
  return {
    id: content.id,
    key: content.key,
    body: content.body,
    time: content.time,
    expiresAt: content.expiresAt,
    attributes: content.attributes,
    headers: content.headers,
    transport,
    place: to.place,
    partition: to.partition,
    delayMs: to.delayMs,
    slot: to.slot,
  }
}

const structured: Readonly<Record<string, string>> = Object.freeze({ datacontenttype: structuredContentType })

function enveloped(content: Content, to: Destination): Outgoing {
  return {
    id: content.id,
    key: content.key,
    body: toStructured(content),
    time: content.time,
    expiresAt: content.expiresAt,
    attributes: structured,
    headers: null,
    transport: null,
    place: to.place,
    partition: to.partition,
    delayMs: to.delayMs,
    slot: to.slot,
  }
}

// What the envelope of a message takes on any wire, at a guess: attributes, trace, time.
const envelopeBytes = 400

/** About how many bytes a message takes, for the bound of one publish. */
export function roughBytes(content: Content): number {
  let bytes = envelopeBytes + (content.body?.length ?? 0) + (content.key?.length ?? 0)
  if (content.headers !== null) for (const name in content.headers) bytes += name.length + (content.headers[name]?.length ?? 0)
  return bytes
}
