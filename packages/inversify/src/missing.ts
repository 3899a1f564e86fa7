import { check } from '@posthorn/core/adapter'
import { Container } from 'inversify'
import type { HandlerEntry } from './handler-module.ts'

const stop = new Error('everything is bound')

/**
 * Finds what is not bound, without making anything: the container plans everything that it needs before it makes the first part of it,
 * and the first part of this plan ends it.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the handler and the binding
 */
export function checkBindings(container: Container, { handler, topics, options }: HandlerEntry): void {
  const attempt = new Container({ parent: container })
  const [probe, gate] = [Symbol('probe'), Symbol('gate')]
  attempt.bind(gate).toDynamicValue(() => {
    throw stop
  })
  attempt.bind(probe).toResolvedValue((..._: unknown[]) => undefined, [gate, handler])
  try {
    attempt.get(probe)
  } catch (error) {
    if (error === stop) return
    const names = topics.map(({ name }) => `"${name}"`).join(', ')
    throw check.invalid(
      'cannot start the container',
      `the handler ${nameOf(handler)} of ${names} (group "${options.group}") cannot be made: ${shortened(error)}. bind it, or load the module that does, before start(container)`,
    )
  }
}

/** The name of an identifier, for people. */
function nameOf(identifier: unknown): string {
  if (typeof identifier === 'symbol') return identifier.description ?? 'without a name'
  return typeof identifier === 'function' ? identifier.name : String(identifier)
}

// The container says what is missing in its first lines; what it tried follows.
function shortened(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const [missing = '', ...rest] = text.split('\n').filter((line) => line.trim() !== '')
  const wanted = rest.find((line) => line.startsWith('Trying to resolve bindings for'))
  const plain = (line: string): string => line.replace(/Symbol\(([^)]*)\)/g, '$1').replace(/[.:]$/, '')
  const by = wanted === undefined ? '' : `, ${plain(wanted).replace('Trying to resolve bindings for', 'needed by')}`
  return `${plain(missing).replace(/^./, (first) => first.toLowerCase())}${by}`
}
