// The embedded broker under the suite, with the command line in this process: what it does is judged there in virtual time.

import type { Harness } from '@posthorn/conformance'
import { memoryHarness } from '@posthorn/conformance/memory'
import type { MemoryServerOptions } from '@posthorn/core/testing'
import { run } from 'posthorn'
import { terminal } from '../terminal.ts'

/** The suite's own harness of a profile, and `run` as its command line. */
export function withCommandLine(profile: MemoryServerOptions['profile'], runs: typeof run = run): Harness {
  return {
    ...memoryHarness({ profile }),
    async commandLine(args, { connect, interrupt }) {
      const made = terminal({ connect, ...(interrupt === undefined ? {} : { interrupted: interrupt }) })
      const code = await runs(args, made.io)
      return { code, stdout: made.stdout, stderr: made.stderr }
    },
  }
}

const harness: Harness = withCommandLine('default')

export { harness as default }
