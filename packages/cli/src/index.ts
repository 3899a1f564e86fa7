// The command line as a function, for who runs it inside another program.

export { run } from './run.ts'
export { type Output, processSurroundings, type Surroundings, type WantedBroker } from './surroundings.ts'
