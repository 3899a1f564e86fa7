// What a test of an application, of an adapter or of this library needs: a broker with virtual time, the embedded server
// with its switches, the clock, and the function that moves it.

export { drive } from './drive.ts'
export type {
  LinkDirection,
  MemoryCapabilities,
  MemoryLink,
  MemoryOptions,
  MemoryProfile,
  MemoryServer,
  MemoryServerOptions,
  MemoryStats,
  Operation,
  RawMessage,
  Removal,
  SettleCounts,
  StoredMessage,
} from './memory/index.ts'
export { adapter, memory, memoryServer } from './memory/index.ts'
export type { TestBroker } from './test-broker.ts'
export { testBroker } from './test-broker.ts'
export type { Fault } from './test-faults.ts'
export type { LogRecord } from './test-journal.ts'
export type { Match } from './test-match.ts'
export type { VirtualClock } from './virtual-clock.ts'
export { virtualClock } from './virtual-clock.ts'
