// The suite that says what a Posthorn adapter is. Give it a harness.

export type {
  AuditorAbilities,
  Cluster,
  CommandLineOn,
  CommandLineResult,
  ExistingNames,
  GoldenEntry,
  HarnessAbilities,
  PlainService,
  TlsAbility,
  TlsTold,
  WireEntry,
} from './abilities.ts'
export { ClauseFailure } from './assert.ts'
export { type Branch, type Clause, type Need, when } from './clause.ts'
export { allClauses } from './clauses/index.ts'
export { type FaultEntry, type FaultReport, faultLines, faultReport } from './fault-report.ts'
export {
  type Auditor,
  type BrokerProcess,
  type Durability,
  type Harness,
  type Isolation,
  type Link,
  type Operation,
  type ProcessSignal,
  type RawMessage,
  type Removal,
  type SettleCounts,
  type SimulatedLink,
  type Simulation,
  type SteppedClock,
  type StoredMessage,
  unsupported,
} from './harness.ts'
export type { Act, FaultPoint, Member, Script } from './member.ts'
export type { Order, OrderTopic, OrderTopicOptions } from './orders.ts'
export type { ProxyLink } from './proxy/index.ts'
export type { Play, Recorder, Start } from './recorder.ts'
export { type Describe, type It, register } from './register.ts'
export { clauseLines, countLine, totalLines } from './report.ts'
export { type ClauseResult, runSuite, type SuiteOptions, type SuiteReport, type Verdict } from './runner.ts'
export type {
  Calls,
  Gate,
  Load,
  LoadOptions,
  Opened,
  OrdersOptions,
  SeenEvent,
  SendManyOptions,
  SendRecord,
  Trial,
  TrialConnectOptions,
  UntilOptions,
} from './trial.ts'
