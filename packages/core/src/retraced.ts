import type { Content } from './contract.ts'
import { creationTrace, nextTrace, traceOf } from './trace.ts'

/**
 * A copy of a message in the message's trace: where it was created stays in the attribute `traceparent`, the transport gets a
 * hop of its own. A message without a trace stays without; what is malformed is not copied.
 */
export function retraced(content: Content, random: () => number): Content {
  const created = creationTrace(content)
  const { traceparent, tracestate, baggage, ...rest } = content.transport ?? {}
  if (created === undefined) {
    if (traceparent === undefined && tracestate === undefined && baggage === undefined) return content
    return { ...content, transport: { ...rest, ...traceOf(content.transport) } }
  }
  const { attributes } = content
  return {
    ...content,
    attributes: attributes.traceparent === created ? attributes : Object.freeze({ ...attributes, traceparent: created }),
    transport: { ...rest, ...nextTrace(content.transport, random) },
  }
}
