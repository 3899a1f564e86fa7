// A harness in real time whose broker lives in each process that asks for it: enough to show members in processes of their own.

import { type Auditor, type Harness, unsupported } from '@posthorn/conformance'
import type { Clock } from '@posthorn/core/adapter'
import { memory, memoryServer } from '@posthorn/core/testing'

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => Number(process.hrtime.bigint()) / 1e6,
  timer(ms, run) {
    const timeout = setTimeout(run, ms)
    return () => clearTimeout(timeout)
  },
}
const server = memoryServer({ profile: 'redis', leaseMs: 3000, heartbeatMs: 1000, replyMs: 5000, clock })
const auditor: Partial<Auditor> = { async close() {} }

const harness: Harness = {
  adapter: () => memory({ server }),
  isolate: async (clause) => ({ name: (base) => `${clause.toLowerCase()}.${base}`, async dispose() {} }),
  auditor: async () =>
    new Proxy(auditor as Auditor, { get: (target, name) => (name === 'then' ? undefined : (Reflect.get(target, name) ?? missing)) }),
  broker: async () => ({
    title: 'a broker in each process',
    address: 'memory:own',
    profile: 'volatile',
    recoverMs: 3000,
    leaseMs: 3000,
    async start() {},
    signal: missing,
    wipe: missing,
  }),
}
async function missing(): Promise<never> {
  throw unsupported('every process has its own server')
}

export { harness as default }
