import { createCatalog } from '../../src/catalog.ts'
import type { BrokerContext } from '../../src/context.ts'
import type {
  Adapter,
  Capabilities,
  Fault,
  Outgoing,
  PublishFailure,
  PublishReport,
  Session,
  TopicState,
  Topology,
} from '../../src/contract.ts'
import { fromFault } from '../../src/errors.ts'
import type { Middleware } from '../../src/middleware.ts'
import { createIds } from '../../src/random-id.ts'
import { createSender } from '../../src/send-engine.ts'
import type { TelemetryEvent, TelemetryName } from '../../src/telemetry.ts'
import { type VirtualClock, virtualClock } from '../../src/virtual-clock.ts'

/** An error of the scripted server that says how it is to be classified. */
export class ScriptedError extends Error {
  readonly fault: Fault
  constructor(fault: Partial<Fault> = {}, text = 'the scripted server says no') {
    super(text)
    this.fault = { code: 'UNAVAILABLE', retryable: true, outcome: 'unknown', ...fault }
  }
}

/** One publish that the engine made, answered by the test. */
export interface Published {
  readonly batch: readonly Outgoing[]
  readonly signal: AbortSignal
  readonly at: number
  answered: boolean
  answer(failures?: readonly PublishFailure[]): void
  reject(error: unknown): void
}

export interface Scripted {
  readonly context: BrokerContext
  readonly clock: VirtualClock
  readonly published: Published[]
  readonly declared: Topology[]
  readonly events: { readonly name: TelemetryName; readonly event: TelemetryEvent }[]
  readonly closing: AbortController
  /** Answers each publish as it is made; undefined: the test answers. */
  onPublish: ((published: Published) => void) | undefined
  onDeclare: (topology: Topology, signal: AbortSignal) => Promise<readonly TopicState[]>
  /** What was sent, in order of publishing. */
  sent(): readonly Outgoing[]
}

export const scriptedCapabilities: Capabilities = {
  settlement: 'each',
  retention: 'log',
  positions: 'native',
  attempts: 'none',
  delay: 'native',
  replay: 'native',
  forward: 'none',
  unroutable: 'silent',
  headers: 'native',
  limits: { messageBytes: 1_048_576, batch: 100, batches: 4, holdMs: null, unsettled: 1000, delayMs: 86_400_000 },
}

/** A broker context over a session whose every answer the test writes, under a virtual clock. */
export function scripted(
  options: {
    readonly capabilities?: Partial<Capabilities>
    readonly limits?: Partial<Capabilities['limits']>
    readonly middleware?: readonly Middleware[]
    readonly partitions?: number
    readonly random?: () => number
  } = {},
): Scripted {
  const clock = virtualClock()
  const capabilities = { ...scriptedCapabilities, ...options.capabilities, limits: { ...scriptedCapabilities.limits, ...options.limits } }
  const closing = new AbortController()
  const published: Published[] = []
  const declared: Topology[] = []
  const events: Scripted['events'] = []
  const random = options.random ?? (() => 0.5)
  let counter = 0
  const unused = (): never => {
    throw new Error('not part of this test')
  }
  const session: Session = {
    capabilities,
    client: null,
    async declare(topology, signal) {
      declared.push(topology)
      return made.onDeclare(topology, signal)
    },
    publish(batch, signal) {
      return new Promise<PublishReport>((resolve, reject) => {
        const number = published.length
        const one: Published = {
          batch,
          signal,
          at: clock.monotonic(),
          answered: false,
          answer(failures = []) {
            one.answered = true
            resolve({ failures, position: (index) => `${number}:${index}` })
          },
          reject(error) {
            one.answered = true
            reject(error)
          },
        }
        published.push(one)
        made.onPublish?.(one)
      })
    },
    subscribe: unused,
    browse: unused,
    remove: unused,
    inspect: unused,
    close: async () => undefined,
  }
  const adapter: Adapter = {
    name: 'scripted',
    best: capabilities,
    open: async () => session,
    explain: (error) => (error instanceof ScriptedError ? error.fault : { code: 'INTERNAL', retryable: false, outcome: 'unknown' }),
  }
  const base = {
    name: 'tests',
    adapter,
    session,
    capabilities,
    clock,
    random,
    middleware: options.middleware ?? [],
    telemetry: {
      wants: () => true,
      emit: (name: TelemetryName, event: TelemetryEvent) => void events.push({ name, event }),
    },
    closing: closing.signal,
    newId: random === Math.random ? createIds(random) : () => `id-${++counter}`,
    wrap: ((error, attempted, detail) => fromFault(adapter.explain(error), error, attempted, detail)) as BrokerContext['wrap'],
  }
  const catalog = createCatalog(base)
  const sender = createSender({ ...base, catalog })
  const made: Scripted = {
    context: { ...base, catalog, sender },
    clock,
    published,
    declared,
    events,
    closing,
    onPublish: undefined,
    onDeclare: async (topology) =>
      topology.topics.map((plan) => ({
        name: plan.name,
        partitions: options.partitions ?? plan.partitions ?? 4,
        groups: plan.groups.map((group) => group.name),
        created: [],
      })),
    sent: () => published.flatMap((one) => one.batch),
  }
  return made
}

/** Lets everything that waits for no time run. */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Moves the clock by `ms`, letting everything run between two timers. */
export async function pass(clock: VirtualClock, ms: number): Promise<void> {
  const end = clock.monotonic() + ms
  clock.timer(ms, () => undefined)
  await quiet()
  for (let due = clock.nextDue(); due !== null && due <= end; due = clock.nextDue()) {
    clock.step()
    await quiet()
  }
}
