import type { Scenario } from './scenario.ts'
import { backlog } from './scenarios/backlog.ts'
import { slowHandlers } from './scenarios/slow-handlers.ts'
import { stages } from './scenarios/stages.ts'
import { throughput } from './scenarios/throughput.ts'

/** Every scenario by the name that `--only` takes, in the order of the report. */
export const scenarios: Readonly<Record<string, Scenario>> = { throughput, stages, slow: slowHandlers, backlog }
