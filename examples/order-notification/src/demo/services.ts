// Starts and stops the services as separate programs would: each with its own connection, so that stopping one is real.
import { type Broker, connect, type LogEntry, type Middleware } from '@posthorn/core'
import { startAuditService } from '../audit-service.ts'
import { smtpMailer, startEmailService } from '../email-service.ts'
import { startInventoryService } from '../inventory-service.ts'
import { startOrderService } from '../order-service.ts'
import { startPushService } from '../push-service.ts'
import type { Seen, ServiceName } from './ledger.ts'

type Collected<T> = T extends readonly (infer Item)[] ? Item[] : never

export interface ServicesOptions {
  readonly target: string
  readonly smtpUrl: string
  readonly pushUrl: string
  log(service: ServiceName, entry: LogEntry): void
  readonly middleware?: ((service: ServiceName) => Middleware) | undefined
}
export interface Services {
  start(name: ServiceName): Promise<void>
  /** Finishes what runs and takes nothing new. */
  stop(name: ServiceName): Promise<void>
  stopAll(): Promise<void>
  isRunning(name: ServiceName): boolean
  /** Where to post orders, while the order service runs. */
  readonly ordersUrl: string
  readonly audited: Seen['audited']
  readonly booked: Seen['booked']
}

/** Five attempts, as without these numbers, but with pauses that suit a demo of a few seconds. */
const retry = { firstDelayMs: 20, maxDelayMs: 200 }

export function createServices({ target, smtpUrl, pushUrl, log, middleware }: ServicesOptions): Services {
  const audited: Collected<Seen['audited']> = []
  const booked: Collected<Seen['booked']> = []
  const running = new Map<ServiceName, () => Promise<void>>()
  let ordersUrl = ''
  let ended = false

  // Each returns what has to be closed before the connection, or after it.
  const starters: Record<ServiceName, (broker: Broker) => Promise<{ before?: () => Promise<void>; after?: () => void }>> = {
    order: async (broker) => {
      const service = await startOrderService(broker, { port: 0 })
      ordersUrl = service.url
      return { before: service.close }
    },
    email: async (broker) => {
      const mailer = smtpMailer(smtpUrl)
      await startEmailService(broker, { mailer, retry })
      return { after: () => mailer.close() }
    },
    push: async (broker) => {
      await startPushService(broker, { url: pushUrl, retry })
      return {}
    },
    audit: async (broker) => {
      await startAuditService(broker, { write: (entry) => void audited.push(entry) })
      return {}
    },
    inventory: async (broker) => {
      await startInventoryService(broker, { book: (sale) => void booked.push(sale) })
      return {}
    },
  }

  async function stop(name: ServiceName): Promise<void> {
    const end = running.get(name)
    running.delete(name)
    await end?.()
  }

  return {
    async start(name) {
      const broker = await connect(target, {
        name: `${name}-service`,
        log: (entry) => log(name, entry),
        middleware: middleware === undefined ? [] : [middleware(name)],
      })
      const { before, after } = await starters[name](broker)
      running.set(name, async () => {
        await before?.()
        await broker.close()
        after?.()
      })
      // The end may come while a service is starting.
      if (ended) await stop(name)
    },
    stop,
    async stopAll() {
      ended = true
      // Who sends goes first, so that the others see all of it.
      for (const name of ['order', 'email', 'push', 'inventory', 'audit'] as const) await stop(name)
    },
    isRunning: (name) => running.has(name),
    get ordersUrl() {
      return ordersUrl
    },
    audited,
    booked,
  }
}
