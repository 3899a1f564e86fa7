// The dead letters that a command is about: one group's, of one topic, on one broker.

import { type Broker, type DeadLetters, isMessagingError, topic as makeTopic, type Topic } from '@posthorn/core'
import { MessagingError } from '@posthorn/core/adapter'
import type { Given } from './arguments.ts'
import { misused, type Option } from './command.ts'
import type { Surroundings } from './surroundings.ts'

/** The options that say whose. */
export const placeOptions: readonly Option[] = [
  { name: 'topic', value: 'TOPIC', help: 'the topic' },
  { name: 'group', value: 'GROUP', help: 'the group whose handlers failed' },
  { name: 'native', value: 'JSON', help: 'what the topic says under "native", where it has another name on the server' },
]

/** A group's dead letters, on an open connection. */
export interface DeadPlace {
  readonly tools: DeadLetters
  /** For texts: which broker. */
  readonly adapter: string
  /** `the dead letters of "orders.placed" for group "email"` */
  readonly title: string
  /** Resolves where the server has the group. @throws MessagingError `NOT_FOUND` */
  mustHaveGroup(): Promise<void>
}

/**
 * Connects, finds the topic, runs `use`, and closes.
 *
 * @throws MessagingError `INVALID_ARGUMENT` before anything is opened, `NOT_FOUND` where there is no such topic; what connecting and `use` say
 */
export async function atDeadLetters(
  command: string,
  given: Given,
  io: Surroundings,
  use: (place: DeadPlace) => Promise<number>,
): Promise<number> {
  const attempted = `cannot run "posthorn ${command}"`
  const [name, group] = [given.needed('topic'), given.needed('group')]
  const native = nativeOf(command, given.text('native'))
  // Bytes are shown as they are: what they mean is for the application to know.
  const topic = makeTopic(name, { codec: 'bytes', native })
  const broker = await io.connect({ name: given.text('broker'), file: given.text('config') })
  async function mustHaveGroup(): Promise<void> {
    if (await hasGroup(broker, topic, native, group)) return
    throw new MessagingError(
      'NOT_FOUND',
      `${attempted}: on ${broker.adapter} the topic "${name}" has no group "${group}". check --group, and --broker`,
    )
  }
  try {
    await found(broker, topic, attempted)
    const title = `the dead letters of "${name}" for group "${group}"`
    return await use({ tools: broker.deadLetters(topic, group), adapter: broker.adapter, title, mustHaveGroup })
  } catch (error) {
    // A server may miss the place where they would lie. It says so in its own words, which are the cause; ours are clearer.
    if (isMessagingError(error, 'NOT_FOUND') && error.cause !== undefined) await mustHaveGroup()
    throw error
  } finally {
    await broker.close({ drainMs: 1000 })
  }
}

type NativeOptions = NonNullable<Parameters<typeof makeTopic>[1]>['native']

function nativeOf(command: string, text: string | undefined): NativeOptions {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as NativeOptions
  } catch {
    // said below
  }
  throw misused(command, `--native must be a JSON object with options by adapter, as in {"kafka":{"topic":"Orders"}}`)
}

async function found(broker: Broker, topic: Topic, attempted: string): Promise<void> {
  if (await exists(broker, topic)) return
  throw new MessagingError('NOT_FOUND', `${attempted}: there is no topic "${topic.name}" on ${broker.adapter}. check --topic, and --broker`)
}

/** The connection makes nothing: to declare is to look. */
async function exists(broker: Broker, topic: Topic, groups: readonly string[] = []): Promise<boolean> {
  try {
    await broker.declare(topic, { groups })
    return true
  } catch (error) {
    if (isMessagingError(error, 'NOT_FOUND') || (groups.length > 0 && isMessagingError(error, 'CONFLICT'))) return false
    throw error
  }
}

// Where a group's messages lie may depend on whether the topic has keys, which its name does not say: it is looked for as both.
async function hasGroup(broker: Broker, topic: Topic, native: NativeOptions, group: string): Promise<boolean> {
  const keyed = makeTopic(topic.name, { native, key: () => '' })
  return (await exists(broker, topic, [group])) || (await exists(broker, keyed, [group]))
}
