import type { Mutant } from './mutant.ts'

/** Bugs of the command line and of what it rests on, noticed where it runs on the embedded broker. */
export const commandLine: readonly Mutant[] = [
  {
    id: 'MUT-160',
    where: 'cli',
    file: 'commands/dlq-purge.ts',
    find: 'tools.purge({ where: choice.picks },',
    replace: 'tools.purge({ all: true },',
    killedBy: ['DLQ-10'],
    what: 'purge on the command line overlooks what is chosen',
  },
  {
    id: 'MUT-161',
    where: 'cli',
    file: 'carry-out.ts',
    find: 'if (interrupted) return exit.failed',
    replace: 'if (interrupted) return exit.done',
    killedBy: ['DLQ-10'],
    what: 'an interrupted replay ends as if all were done',
  },
  {
    id: 'MUT-162',
    where: 'core',
    file: 'catalog.ts',
    find: 'create: context.looksOnly !== true',
    replace: 'create: true',
    killedBy: ['DLQ-10'],
    what: 'a tool makes the topics that it is asked for',
  },
]
