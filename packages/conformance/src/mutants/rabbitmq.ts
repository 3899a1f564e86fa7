import type { Mutant } from './mutant.ts'

/** Bugs of the RabbitMQ adapter, planted in it and noticed on a real server. */
export const rabbitmq: readonly Mutant[] = [
  {
    id: 'MUT-26',
    where: 'rabbitmq',
    file: 'assignment.ts',
    find: 'if (tag >= lowest) ack(channel, tag, false)',
    replace: 'if (tag >= lowest) ack(channel, tag, true)',
    killedBy: ['ACK-5'],
    what: 'settles everything up to the finished one',
  },
  {
    id: 'MUT-68',
    where: 'rabbitmq',
    file: 'queue-reader.ts',
    find: 'if (message !== null) return assignment.receive(message)',
    replace: `if (message === null) return undefined
            if (message !== null) return assignment.receive(message)`,
    killedBy: ['NET-12'],
    what: 'cancel from the broker ignored',
  },
  {
    id: 'MUT-69',
    where: 'rabbitmq',
    file: 'connections.ts',
    find: 'reconnectDelay(Math.min(tries, 4), context.random)',
    replace: 'reconnectDelay(Math.min(tries, 4), context.random) * 0 + 5',
    killedBy: ['NET-14'],
    what: 'reconnects without pause',
  },
]
