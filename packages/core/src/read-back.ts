import { isThenable } from './check.ts'
import { decodeValue, issuesText } from './decode.ts'
import { isMessagingError, MessagingError, textOf } from './errors.ts'
import type { SendPlan } from './prepare.ts'
import type { StandardSchemaV1 } from './standard-schema.ts'
import { isUnchecked, type TopicDefinition } from './topic.ts'

// Topics of which a message was read back in this process. By definition: two definitions of one name are two.
const done = new WeakSet<TopicDefinition>()

/** Is the next message of this topic to be read back before it is sent? */
export function mustReadBack(topic: TopicDefinition, always: boolean): boolean {
  return always || !done.has(topic)
}

/**
 * Reads a message back as a receiver will: decoded by the codec, checked by the schemas. A promise only where a schema
 * answers with one. Topics pass once per process; one whose message was refused is asked again with the next.
 *
 * @throws MessagingError INVALID_MESSAGE naming the field and the cure
 */
export function readBack(plan: SendPlan, body: Uint8Array | null, id: string | undefined): Promise<void> | undefined {
  let read: unknown
  try {
    read = decodeValue(plan.topic, { body })
  } catch (error) {
    throw refused(plan, id, error)
  }
  // A value of an unchecked topic may itself look like a promise.
  if (isUnchecked(plan.topic.schema) || !isThenable(read)) {
    done.add(plan.topic)
    return undefined
  }
  return Promise.resolve(read).then(
    () => {
      done.add(plan.topic)
    },
    (error: unknown) => {
      throw refused(plan, id, error)
    },
  )
}

function refused(plan: SendPlan, id: string | undefined, error: unknown): MessagingError {
  const issues = isMessagingError(error) ? error.issues : []
  const what = issues.length > 0 ? issuesText(issues) : textOf(error)
  const cure = /\bdate\b/i.test(what)
    ? `(a Date becomes text in JSON). write ${dateCure(plan.topic.schema)} in the schema`
    : `(it is encoded as ${plan.topic.codec.contentType} and checked again). let the schema take what the codec gives back`
  return new MessagingError(
    'INVALID_MESSAGE',
    `${plan.attempted}: receivers would refuse this message. ${what}\n${cure}. it was not sent`,
    {
      outcome: 'failed',
      messageId: id,
      issues,
      cause: error,
    },
  )
}

function dateCure(schema: StandardSchemaV1 | undefined): string {
  const vendor = schema?.['~standard'].vendor
  if (vendor === 'valibot') return 'v.pipe(v.union([v.string(), v.date()]), v.transform((x) => new Date(x)))'
  if (vendor === 'arktype') return "type('Date | string.date.parse')"
  return 'z.coerce.date()'
}
