import type { Mutant } from './mutant.ts'

/** Bugs of the RabbitMQ adapter, planted in it and noticed on a real server. */
export const rabbitmq: readonly Mutant[] = []
