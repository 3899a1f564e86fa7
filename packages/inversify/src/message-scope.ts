import type { Message } from '@posthorn/core'
import { check } from '@posthorn/core/adapter'
import type { ServiceIdentifier } from 'inversify'

/** One attempt at one message: what is made for it lives as long as its handler runs. */
export interface MessageScope {
  readonly message: Message
  /** What the `once` store of the handler gave it: its transaction. Undefined without one. */
  readonly tx: unknown
  /**
   * Runs when the handler has ended, however it ended, and before the message is settled; the last one first. If one of them
   * throws, the others run all the same, and the attempt has failed.
   *
   * @throws MessagingError `INVALID_ARGUMENT` once the handler has ended
   */
  onRelease(release: () => Promise<void> | void): void
}

const identifier: ServiceIdentifier<MessageScope> = Symbol.for('posthorn message scope')

/**
 * What the scope of the message is injected by. Only what is made for one message can have it: the handler, and what is bound
 * `inRequestScope` or `inTransientScope`. A singleton that asks for it would keep the first message for ever.
 */
export function messageScope(): ServiceIdentifier<MessageScope> {
  return identifier
}

/** A scope and its end. */
export interface OpenScope {
  readonly scope: MessageScope
  release(): Promise<void>
}

/** The scope of one attempt. */
export function openScope(message: Message, tx: unknown): OpenScope {
  const releases: (() => Promise<void> | void)[] = []
  let ended = false
  return {
    scope: {
      message,
      tx,
      onRelease(release) {
        if (ended)
          throw check.invalid(
            `cannot use the scope of message "${message.id}" of "${message.topic}"`,
            'its handler has ended. is a singleton holding it? bind what needs the scope inRequestScope()',
          )
        releases.push(release)
      },
    },
    async release() {
      ended = true
      const problems: unknown[] = []
      for (const release of releases.reverse()) {
        try {
          await release()
        } catch (error) {
          problems.push(error)
        }
      }
      if (problems.length > 0) throw problems[0]
    },
  }
}

// The container calls what has no dependencies of its own, as the scope, before `resolve` returns, even where others are
// promises. So no context has to follow the promises, which would cost every promise of the process.
let current: MessageScope | undefined

/** Calls `resolve` so that what it makes finds the scope. */
export function resolveWithin<T>(scope: MessageScope, resolve: () => T): T {
  const outer = current
  current = scope
  try {
    return resolve()
  } finally {
    current = outer
  }
}

/** The scope of the message that is being resolved. */
export function currentScope(): MessageScope {
  if (current === undefined)
    throw check.invalid(
      'cannot inject the scope of a message',
      'none is being handled. inject it into handlers and what they are made of, not into what is resolved elsewhere or later',
    )
  return current
}
