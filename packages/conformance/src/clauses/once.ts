import type { Clause } from '../clause.ts'

/** The ONCE clauses, in the order of the page. */
export const once: readonly Clause[] = [
  { id: 'ONCE-1', title: 'One effect per message', needs: 'memory' },
  { id: 'ONCE-2', title: 'Record and effect appear together', needs: 'memory' },
  { id: 'ONCE-3', title: 'The window is as stated', needs: 'memory' },
  { id: 'ONCE-4', title: 'Two copies at the same time', needs: 'memory' },
  { id: 'ONCE-5', title: 'A failed attempt leaves no record', needs: 'memory' },
  { id: 'ONCE-6', title: 'No claim without means', needs: 'memory' },
  { id: 'ONCE-7', title: 'Atomic forward', needs: 'memory' },
  { id: 'ONCE-8', title: 'Zombies are fenced in transactions', needs: 'memory' },
  { id: 'ONCE-9', title: 'Outputs follow the handler', needs: 'memory' },
  { id: 'ONCE-10', title: 'Foreign ids cannot abuse the store', needs: 'memory' },
  { id: 'ONCE-11', title: 'Forwarded ids repeat themselves and never collide', needs: 'memory' },
  { id: 'ONCE-12', title: 'The same id elsewhere is another message', needs: 'memory' },
  { id: 'ONCE-13', title: 'once and its neighbours', needs: 'memory' },
]
