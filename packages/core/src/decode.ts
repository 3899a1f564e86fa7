import { isThenable } from './check.ts'
import type { Received } from './contract.ts'
import { MessagingError, textOf } from './errors.ts'
import type { StandardSchemaV1 } from './standard-schema.ts'
import { isUnchecked, type TopicDefinition } from './topic.ts'

/**
 * The value that a handler gets: decoded by the topic's codec, checked by its schema, then by the older ones. A promise only
 * where a schema answers with one.
 *
 * @throws MessagingError `UNDECODABLE` (the codec refuses the bytes) or `INVALID_MESSAGE` (the schema refuses the value)
 */
export function decodeValue(topic: TopicDefinition, content: Pick<Received, 'body'>): unknown {
  let value: unknown
  try {
    value = content.body === null ? null : topic.codec.decode(content.body)
  } catch (error) {
    throw new MessagingError('UNDECODABLE', `cannot decode a message of "${topic.name}" as ${topic.codec.contentType}: ${textOf(error)}`)
  }
  if (isUnchecked(topic.schema)) return value
  return check(topic, value)
}

function check(topic: TopicDefinition, value: unknown): unknown {
  const schemas = [topic.schema as StandardSchemaV1, ...topic.accept]
  let first: readonly StandardSchemaV1.Issue[] | undefined
  const from = (index: number): unknown => {
    for (let i = index; i < schemas.length; i++) {
      const result = (schemas[i] as StandardSchemaV1)['~standard'].validate(value)
      if (isThenable(result)) {
        return Promise.resolve(result).then((answer) => {
          if (answer.issues === undefined) return answer.value
          first ??= answer.issues
          return from(i + 1)
        })
      }
      if (result.issues === undefined) return result.value
      first ??= result.issues
    }
    throw new MessagingError(
      'INVALID_MESSAGE',
      `a message of "${topic.name}" does not have the topic's shape: ${issuesText(first ?? [])}`,
      { issues: first },
    )
  }
  return from(0)
}

/** The first issues of a schema, each with its path, as one line. */
export function issuesText(issues: readonly StandardSchemaV1.Issue[]): string {
  const shown = issues.slice(0, 3).map((issue) => {
    const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  const more = issues.length > 3 ? `, and ${issues.length - 3} more` : ''
  return shown.length === 0 ? 'the schema refused it without saying why' : `${shown.join('; ')}${more}`
}
