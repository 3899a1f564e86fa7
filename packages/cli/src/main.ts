#!/usr/bin/env node
// The program: streams and signals of this process around `run`.

import { run } from './run.ts'
import { processSurroundings } from './surroundings.ts'

const interrupt = new AbortController()

// The first one ends what runs cleanly; who asks again wants to be gone, and loses no message by it: an entry is removed after its copy.
function stop(): void {
  if (interrupt.signal.aborted) process.exit(1)
  process.stderr.write('\nending after what is on its way; once more ends it now\n')
  interrupt.abort()
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)

// A reader that has seen enough, as in `posthorn dlq list … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1)
})

process.exitCode = await run(process.argv.slice(2), processSurroundings(interrupt.signal))
