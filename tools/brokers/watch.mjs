// Started by runs.mjs when the process of a run is gone: ends what it left.
import { endRun } from './runs.mjs'

const [run] = process.argv.slice(2)
if (run !== undefined) endRun(run)
