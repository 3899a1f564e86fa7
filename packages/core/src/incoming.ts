import type { Capabilities, Received } from './contract.ts'
import { MessagingError } from './errors.ts'
import { maxHeaderBytes, maxHeaders, tooManyHeaders } from './headers.ts'
import { fromMaybeStructured, fromStructured, structuredKind } from './structured.ts'

/** What of the capabilities decides how a body is read. */
export type Wire = Pick<Capabilities, 'headers'>

/**
 * A received message as its sender meant it: taken out of the envelope where the wire has no headers, and out of a
 * structured CloudEvent where the content type says that the body is one. Everything else is returned as it is: a message
 * without an envelope is a message. A body over `maxBytes` (with room for an envelope around it) is returned unread.
 *
 * @throws MessagingError `UNDECODABLE` for a malformed or batched event and for more headers than any message of ours can
 * have: it goes to the dead letters with its bytes, reason `undecodable`
 */
export function readContent(wire: Wire, received: Received, maxBytes: number = Number.POSITIVE_INFINITY): Received {
  checkSizes(received)
  const content = unwrapEnvelope(wire, received, maxBytes)
  if (content !== received) {
    checkSizes(content)
    return content
  }
  const kind = structuredKind(received.attributes.datacontenttype)
  if (kind === 'none' || (received.body?.length ?? 0) > room(maxBytes)) return received
  if (kind === 'batch')
    throw new MessagingError('UNDECODABLE', 'cannot read a batch of CloudEvents: one message is one event. send them one by one')
  if (kind === 'other') throw new MessagingError('UNDECODABLE', 'cannot read a structured CloudEvent in another format than JSON')
  if (received.body === null) throw new MessagingError('UNDECODABLE', 'cannot read a structured CloudEvent: the body is null')
  const inner = merged(received, fromStructured(received.body))
  checkSizes(inner)
  return inner
}

/**
 * Only the envelope of wires without headers, without a look at content types: for browsing dead letters, which hold what
 * could not be read otherwise. What is no envelope is returned as it is; so is everything where the wire has headers.
 *
 * @throws MessagingError `UNDECODABLE` for an envelope that is malformed inside
 */
export function unwrapEnvelope(wire: Wire, received: Received, maxBytes: number = Number.POSITIVE_INFINITY): Received {
  if (wire.headers === 'native' || received.body === null || received.body.length > room(maxBytes)) return received
  const inner = fromMaybeStructured(received.body)
  return inner === null ? received : merged(received, inner)
}

// Base64 and the escapes of JSON around a body that is just small enough, and its attributes and headers.
const room = (maxBytes: number): number => maxBytes * 2 + 128 * 1024

// The document says what the message is; the wire around it says what happened to it since.
function merged(outer: Received, inner: Received): Received {
  return {
    id: inner.id ?? outer.id,
    key: outer.key ?? inner.key,
    body: inner.body,
    time: inner.time ?? outer.time,
    expiresAt: inner.expiresAt ?? outer.expiresAt,
    attributes: inner.attributes,
    headers: joined(inner.headers, outer.headers),
    transport: joined(inner.transport, outer.transport),
  }
}

function joined(inner: Received['headers'], outer: Received['headers']): Received['headers'] {
  if (inner === null || outer === null) return inner ?? outer
  return Object.assign(Object.create(null) as Record<string, string>, inner, outer)
}

// Attributes come in addition to headers, and a specification wants at least 64 KiB of a message to be carried.
const maxAttributes = maxHeaders * 2
const maxAttributeBytes = maxHeaderBytes * 8

// Most messages of one sender share their attributes, where the adapter keeps them shared.
let lastAttributes: Received['attributes'] | undefined

function checkSizes(received: Received): void {
  if (received.headers !== null && tooManyHeaders(received.headers)) {
    throw new MessagingError(
      'UNDECODABLE',
      `cannot read a message: it has more than ${maxHeaders} headers or ${maxHeaderBytes} bytes of them`,
    )
  }
  if (received.attributes === lastAttributes) return
  if (tooManyHeaders(received.attributes, maxAttributes, maxAttributeBytes)) {
    throw new MessagingError(
      'UNDECODABLE',
      `cannot read a message: it has more than ${maxAttributes} attributes or ${maxAttributeBytes} bytes of them`,
    )
  }
  lastAttributes = received.attributes
}
