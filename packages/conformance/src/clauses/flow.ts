import type { Clause } from '../clause.ts'

/** The FLOW clauses, in the order of the page. */
export const flow: readonly Clause[] = [
  { id: 'FLOW-1', title: 'What is held is bounded', needs: 'memory' },
  { id: 'FLOW-2', title: 'Concurrency is real', needs: 'memory' },
  { id: 'FLOW-3', title: 'Concurrency means the same everywhere', needs: 'memory' },
  { id: 'FLOW-4', title: 'Pause holds, resume loses nothing', needs: 'memory' },
  { id: 'FLOW-5', title: 'A long handler is not run twice', needs: 'memory' },
  { id: 'FLOW-6', title: 'Waiting in the buffer is not idleness', needs: 'memory' },
  { id: 'FLOW-7', title: 'Slow is never an error', needs: 'memory' },
  { id: 'FLOW-8', title: 'A big backlog is ordinary', needs: 'long' },
  { id: 'FLOW-9', title: 'A handler that never ends frees its slot', needs: 'memory' },
  { id: 'FLOW-10', title: 'A hot key or topic starves nobody', needs: 'memory' },
  { id: 'FLOW-11', title: 'The event loop stays free', needs: 'process' },
  { id: 'FLOW-12', title: 'A stalled loop wakes up sane', needs: 'process' },
  { id: 'FLOW-13', title: 'Batch and pull wait no longer than they say', needs: 'memory' },
]
