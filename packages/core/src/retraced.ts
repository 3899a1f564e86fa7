import type { Content } from './contract.ts'
import { creationTrace, nextTrace } from './trace.ts'

/**
 * A copy of a message in the message's trace: where it was created stays in the attribute `traceparent`, the transport gets a
 * hop of its own. A message without a trace stays without.
 */
export function retraced(content: Content, random: () => number): Content {
  const created = creationTrace(content)
  if (created === undefined) return content
  const { attributes } = content
  return {
    ...content,
    attributes: attributes.traceparent === created ? attributes : Object.freeze({ ...attributes, traceparent: created }),
    transport: { ...content.transport, ...nextTrace(content.transport, random) },
  }
}
